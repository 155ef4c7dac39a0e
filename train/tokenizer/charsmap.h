// SentencePiece's compiled table of character replacements: a double-array trie (darts-clone) from sequences of bytes
// to offsets into a block of texts that end in zero bytes. The same bytes stand in .model files and, in base64, in
// tokenizer.json.
//
//   blob = u32 bytes of the trie | trie, u32 units | texts
//
// Readers follow offsets without looking, so a table made by hand could send them anywhere. The constructor walks
// everything that any text could reach, once; afterwards no look-up needs a check.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

class Charsmap {
 public:
  static constexpr std::size_t kMaxBytes = std::size_t{4} << 20;  // the largest known table has 0.3 MiB
  static constexpr std::size_t kMaxText = 1024;                   // bytes of one replacement; the longest known has 33
  static constexpr int kMaxNested = 32;  // keys that begin one another: what readers have room for

  // An empty blob is a table without entries. Refuses with RunError(bad_data), beginning with `where`.
  Charsmap(const std::string& where, std::string_view blob);

  bool empty() const { return units_.empty(); }
  // The replacement for the shortest key that `text` begins with.
  std::optional<std::string_view> shortest_match(std::string_view text) const;

  struct Match {
    std::size_t bytes = 0;  // of the key
    std::string_view replacement;
  };
  // The longest key that `text` begins with, and its replacement.
  std::optional<Match> longest_match(std::string_view text) const;

 private:
  // Calls found(bytes, replacement) for each key that `text` begins with, shortest first, until it returns false.
  template <class Found>
  void matches(std::string_view text, Found found) const;

  std::vector<std::uint32_t> units_;
  std::string texts_;
};

}  // namespace weir
