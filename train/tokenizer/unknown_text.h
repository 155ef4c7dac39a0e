// Says what of a text a tokenizer has no tokens for, for a warning: which parts, or how much.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "train/tokenizer/tokenizer.h"

namespace weir {

class UnknownText {
 public:
  void add(const Tokenizer& tokenizer, std::string_view text);
  bool any() const { return total_ > 0; }
  // `of`: "the prompt". One line: how many parts, and which, the most frequent first.
  std::string describe(const std::string& of) const;

 private:
  std::map<std::string, std::int64_t> counts_;  // of the first different parts, up to a limit
  std::int64_t total_ = 0;
};

// From this share of a text on, what has no token makes figures too low to be compared.
constexpr double kMuchUnknown = 0.01;

// Of a text of which `share` has no token: "0.12%", and a sentence that says what it means for figures.
std::string unknown_percent(double share);
std::string describe_unknown(double share);

}  // namespace weir
