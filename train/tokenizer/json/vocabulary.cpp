#include "train/tokenizer/json/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.h"

namespace weir {
namespace {

// Every number takes memory, so that a file of a few bytes could ask for much of it. Known files leave hundreds.
constexpr std::size_t kMaxUnused = std::size_t{1} << 17;

}  // namespace

Vocabulary::Vocabulary(const JsonPlace& place) {
  const JsonValue::Object& entries = place.object();
  std::int32_t last = -1;
  for (const auto& [piece, value] : entries) {
    const auto* token = std::get_if<std::int64_t>(&value.data);
    if (token == nullptr || *token < 0 || *token > kMaxToken)
      place.refuse(fmt::format("the id of '{}' is not a whole number from 0 to {}", printable(piece, 40), kMaxToken));
    last = std::max(last, static_cast<std::int32_t>(*token));
  }
  if (static_cast<std::size_t>(last + 1) > entries.size() + kMaxUnused)
    place.refuse(fmt::format("{} pieces have ids up to {}, which leaves more than {} numbers unused", entries.size(),
                             last, kMaxUnused));
  pieces_.resize(static_cast<std::size_t>(last + 1));
  tokens_.reserve(entries.size());
  for (const auto& [piece, value] : entries) {
    const auto token = static_cast<std::size_t>(std::get<std::int64_t>(value.data));
    if (pieces_[token])
      place.refuse(
          fmt::format("'{}' and '{}' share the id {}", printable(*pieces_[token], 40), printable(piece, 40), token));
    pieces_[token] = piece;
    tokens_.emplace(*pieces_[token], static_cast<std::int32_t>(token));
  }
}

}  // namespace weir
