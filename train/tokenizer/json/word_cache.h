// What words became, so that the common ones are worked out once. Safe for several threads; never changes a result.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

namespace weir {

class WordCache {
 public:
  // Appends the tokens of `word` and returns the number of its bytes that have none, from memory or from
  // encode(word, tokens).
  template <class Encode>
  std::int64_t encode(std::string_view word, std::vector<std::int32_t>& tokens, Encode encode) const {
    if (word.size() > kMaxWord) return encode(word, tokens);
    const std::size_t hash = std::hash<std::string_view>{}(word);
    Shard& shard = shards_[hash % kShards];
    const std::size_t index = hash / kShards % kEntries;
    {
      const std::lock_guard lock(shard.mutex);
      if (!shard.entries.empty())
        for (const Entry& entry : {std::cref(shard.entries[index]), std::cref(shard.entries[index ^ 1])})
          if (entry.word() == word) {
            tokens.insert(tokens.end(), entry.tokens.begin(), entry.tokens.begin() + entry.count);
            return entry.unknown_bytes;
          }
    }
    const std::size_t before = tokens.size();
    const std::int64_t unknown_bytes = encode(word, tokens);
    const std::size_t count = tokens.size() - before;
    if (count > kMaxTokens) return unknown_bytes;
    const std::lock_guard lock(shard.mutex);
    if (shard.entries.empty()) shard.entries.resize(kEntries);
    // A word has two places; the one that came last gets its first, and whose that was goes to the second.
    Entry& entry = shard.entries[index];
    if (entry.bytes > 0) shard.entries[index ^ 1] = entry;
    entry.bytes = static_cast<std::uint8_t>(word.size());
    entry.count = static_cast<std::uint8_t>(count);
    entry.unknown_bytes = static_cast<std::uint8_t>(unknown_bytes);
    std::copy(word.begin(), word.end(), entry.text.begin());
    std::copy(tokens.begin() + static_cast<std::ptrdiff_t>(before), tokens.end(), entry.tokens.begin());
    return unknown_bytes;
  }

 private:
  static constexpr std::size_t kShards = 64, kEntries = 1024, kMaxWord = 86, kMaxTokens = 10;

  // Two cache lines, of which a short word needs the first alone.
  struct alignas(64) Entry {
    std::uint8_t bytes = 0, count = 0, unknown_bytes = 0;  // no word has 0 bytes
    std::array<std::int32_t, kMaxTokens> tokens{};
    std::array<char, kMaxWord> text{};
    std::string_view word() const { return {text.data(), bytes}; }
  };
  struct Shard {
    std::mutex mutex;
    std::vector<Entry> entries;  // made with the first
  };

  mutable std::array<Shard, kShards> shards_;
};

}  // namespace weir
