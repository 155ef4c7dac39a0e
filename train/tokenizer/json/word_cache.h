// What words became, so that the common ones are worked out once. Safe for several threads; never changes a result.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir {

class WordCache {
 public:
  // Appends the tokens of `word`, from memory or from encode(word, tokens).
  template <class Encode>
  void encode(std::string_view word, std::vector<std::int32_t>& tokens, Encode encode) const {
    if (word.size() > kMaxWord) return encode(word, tokens);
    const std::size_t hash = std::hash<std::string_view>{}(word);
    Shard& shard = shards_[hash % kShards];
    {
      const std::lock_guard lock(shard.mutex);
      if (const auto known = shard.words.find(word); known != shard.words.end()) {
        tokens.insert(tokens.end(), known->second.begin(), known->second.end());
        return;
      }
    }
    const std::size_t before = tokens.size();
    encode(word, tokens);
    const std::lock_guard lock(shard.mutex);
    if (shard.words.size() < kMaxWords)
      shard.words.emplace(word, std::vector(tokens.begin() + static_cast<std::ptrdiff_t>(before), tokens.end()));
  }

 private:
  static constexpr std::size_t kShards = 64, kMaxWords = 4096, kMaxWord = 64;  // words per shard, bytes of a word

  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view word) const { return std::hash<std::string_view>{}(word); }
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::vector<std::int32_t>, Hash, std::equal_to<>> words;
  };

  mutable std::array<Shard, kShards> shards_;
};

}  // namespace weir
