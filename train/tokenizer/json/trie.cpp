#include "train/tokenizer/json/trie.h"

#include <algorithm>
#include <deque>

namespace weir {

// Breadth first: the entries below a node are a range of the sorted list.
Trie::Trie(std::vector<std::pair<std::string, std::int32_t>> entries) {
  struct Range {
    std::size_t begin, end, depth;
  };
  std::sort(entries.begin(), entries.end());
  std::deque<Range> ranges{{0, entries.size(), 0}};  // of the nodes from `node` on
  nodes_.emplace_back();
  for (std::size_t node = 0; node < nodes_.size(); ++node) {
    auto [begin, end, depth] = ranges.front();
    ranges.pop_front();
    if (begin < end && entries[begin].first.size() == depth) nodes_[node].number = entries[begin++].second;
    nodes_[node].children = static_cast<std::int32_t>(nodes_.size());
    while (begin < end) {
      const char byte = entries[begin].first[depth];
      std::size_t next = begin;
      while (next < end && entries[next].first[depth] == byte) ++next;
      nodes_.push_back({.byte = static_cast<std::uint8_t>(byte)});
      ranges.push_back({begin, next, depth + 1});
      ++nodes_[node].count;
      begin = next;
    }
  }
  first_.fill(-1);
  for (std::int32_t i = 0; i < nodes_[0].count; ++i) {
    const std::int32_t child = nodes_[0].children + i;
    first_[nodes_[static_cast<std::size_t>(child)].byte] = child;
  }
}

std::int32_t Trie::child(std::int32_t node, std::uint8_t byte) const {
  const Node& parent = nodes_[static_cast<std::size_t>(node)];
  const auto begin = nodes_.begin() + parent.children, end = begin + parent.count;
  const auto found = std::lower_bound(begin, end, byte, [](const Node& a, std::uint8_t b) { return a.byte < b; });
  return found != end && found->byte == byte ? static_cast<std::int32_t>(found - nodes_.begin()) : -1;
}

}  // namespace weir
