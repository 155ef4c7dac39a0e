// The regular expressions of a tokenizer.json, run by Oniguruma: the library that the Python package `tokenizers` is
// built with, and the syntax and options that it uses.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

// First and last code points of each range that has a property of Unicode, such as "Han", in order.
std::vector<std::array<std::uint32_t, 2>> property_ranges(std::string_view name);

// A compiled expression. Can be used by several threads at a time.
class Regex {
 public:
  // What cannot be compiled is refused with `where`, the place in the file.
  Regex(std::string where, std::string expression);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  struct Match {
    std::size_t begin, end;
  };

  // All matches in a text, which is UTF-8, from left to right, each the first that begins where the one before it ends
  // or behind that; no empty match right behind a match. A search that goes back on its choices again and again is
  // stopped after a time that grows with the text: RunError(bad_data) names the expression. So none takes for ever.
  std::vector<Match> find_all(std::string_view text) const;

 private:
  struct Program;
  struct Search;
  std::string where_, expression_;
  std::unique_ptr<Program> program_;
};

}  // namespace weir
