// Texts with numbers, found by their beginnings. Children of a node lie side by side, sorted by their byte.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir {

class Trie {
 public:
  // Distinct, none empty; numbers are not negative.
  explicit Trie(std::vector<std::pair<std::string, std::int32_t>> entries);

  // Calls found(bytes, number) for each entry that `text` begins with, shortest first.
  template <class Found>
  void prefixes(std::string_view text, Found found) const {
    std::int32_t node = 0;
    for (std::size_t depth = 0; depth < text.size(); ++depth) {
      const auto byte = static_cast<unsigned char>(text[depth]);
      node = depth == 0 ? first_[byte] : child(node, byte);
      if (node < 0) return;
      const std::int32_t number = nodes_[static_cast<std::size_t>(node)].number;
      if (number >= 0) found(depth + 1, number);
    }
  }

 private:
  struct Node {
    std::int32_t children = 0;  // index of the first
    std::int16_t count = 0;
    std::uint8_t byte = 0;
    std::int32_t number = -1;
  };

  std::int32_t child(std::int32_t node, std::uint8_t byte) const;

  std::vector<Node> nodes_;                // 0 is the root
  std::array<std::int32_t, 256> first_{};  // the root's children by byte; -1: none
};

}  // namespace weir
