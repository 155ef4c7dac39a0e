// Pieces and their tokens, in both directions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "train/tokenizer/json/document.h"

namespace weir {

constexpr std::int32_t kMaxToken = (1 << 22) - 1;

using Pieces = std::vector<std::optional<std::string>>;  // by token; nothing where a number is not used

class Vocabulary {
 public:
  // An object {"piece": token, ...}. No two pieces may share a token.
  explicit Vocabulary(const JsonPlace& place);

  std::int32_t find(std::string_view piece) const {
    const auto found = tokens_.find(piece);
    return found == tokens_.end() ? -1 : found->second;
  }
  std::size_t entries() const { return tokens_.size(); }
  const Pieces& pieces() const { return pieces_; }

 private:
  Pieces pieces_;
  std::unordered_map<std::string_view, std::int32_t> tokens_;  // into pieces_
};

}  // namespace weir
