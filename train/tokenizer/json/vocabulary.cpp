#include "train/tokenizer/json/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.h"

namespace weir {

Vocabulary::Vocabulary(const JsonPlace& place) {
  const JsonObject& entries = place.object();
  std::int32_t last = -1;
  for (const auto& [piece, value] : entries) {
    const auto* token = std::get_if<std::int64_t>(&value.data);
    if (token == nullptr || *token < 0 || *token > kMaxToken)
      place.refuse(fmt::format("the id of '{}' is not a whole number from 0 to {}", printable(piece, 40), kMaxToken));
    last = std::max(last, static_cast<std::int32_t>(*token));
  }
  std::vector<const std::string*> owners(static_cast<std::size_t>(last + 1));
  pieces_.resize(owners.size());
  tokens_.reserve(entries.size());
  for (const auto& [piece, value] : entries) {
    const auto token = static_cast<std::size_t>(std::get<std::int64_t>(value.data));
    if (owners[token] != nullptr)
      place.refuse(
          fmt::format("'{}' and '{}' share the id {}", printable(*owners[token], 40), printable(piece, 40), token));
    owners[token] = &piece;
    pieces_[token] = piece;
    tokens_.emplace(pieces_[token], static_cast<std::int32_t>(token));
  }
}

}  // namespace weir
