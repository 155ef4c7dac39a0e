#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "train/dataset.h"

namespace weir {

SplitWriter::SplitWriter(std::string folder, std::string split, std::int64_t vocabulary, std::int64_t tokens_per_shard)
    : folder_(std::move(folder)),
      split_(std::move(split)),
      vocabulary_(vocabulary),
      tokens_per_shard_(tokens_per_shard) {}

void SplitWriter::append(std::span<const std::int32_t> tokens) {
  while (!tokens.empty()) {
    if (shards_.empty() || shards_.back()->size() == tokens_per_shard_) {
      if (!shards_.empty()) shards_.back()->finish();
      shards_.push_back(std::make_unique<TokenFileWriter>(
          fmt::format("{}/{}-{:05d}.tokens", folder_, split_, shards_.size()), vocabulary_));
    }
    const std::int64_t room = tokens_per_shard_ - shards_.back()->size();
    const auto piece = tokens.first(static_cast<std::size_t>(std::min(room, std::ssize(tokens))));
    shards_.back()->append(piece);
    size_ += std::ssize(piece);
    tokens = tokens.subspan(piece.size());
  }
}

Split SplitWriter::commit() {
  if (shards_.empty())
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: the split {} has no text; give it some", printable(folder_, 4096), split_));
  shards_.back()->finish();
  Split split{.tokens = size_, .bytes = {}, .words = {}, .shards = {}, .mended = {}};
  for (const auto& shard : shards_) {
    shard->commit();
    split.shards.push_back({shard->path().substr(folder_.size() + 1), shard->size(), shard->checksum()});
  }
  return split;
}

}  // namespace weir
