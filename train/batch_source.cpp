#include "train/batch_source.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"

namespace weir {

BatchPlace BatchSource::next(BatchPlace place) const {
  return place.block + 1 == blocks_per_epoch() ? BatchPlace{place.epoch + 1, 0}
                                               : BatchPlace{place.epoch, place.block + 1};
}

BatchPlace BatchSource::previous(BatchPlace place) const {
  if (place.block > 0) return {place.epoch, place.block - 1};
  return {std::max<std::int64_t>(0, place.epoch - 1), blocks_per_epoch() - 1};
}

std::unique_ptr<BatchSource> open_batches(const Config& config, const Corpus& corpus) {
  auto source = registry<BatchKind>().find(config.data.order)(
      corpus, {config.train.batch_size, config.model.segment, static_cast<std::uint64_t>(config.train.seed)});
  if (!source->is_continuous() && config.model.memory_length() > 0)
    throw ArgumentError(
        fmt::format("data.order = {} reads sequences that do not continue each other, of which model.memory = {} keeps "
                    "tokens: set model.memory = 0, or data.order = \"streams\"",
                    quote(config.data.order), config.model.memory_length()));
  return source;
}

std::int64_t blocks_of(const Corpus& corpus, const BatchShape& shape) {
  const std::int64_t blocks = corpus.size() == 0 ? 0 : (corpus.size() - 1) / shape.segment / shape.sequences;
  if (blocks > 0) return blocks;
  throw RunError(ExitCode::bad_data,
                 fmt::format("{}: this part of the data has {}, but {} of model.segment = {} {} at "
                             "least {}; give more text, or lower {} or model.segment",
                             printable(corpus.name(), 4096), counted(corpus.size(), "token"),
                             counted(shape.sequences, "stream"), shape.segment, shape.sequences == 1 ? "needs" : "need",
                             shape.sequences * shape.segment + 1, shape.setting));
}

StreamReader::StreamReader(const Corpus& corpus, const BatchShape& shape)
    : corpus_(corpus), streams_(shape.sequences), segment_(shape.segment), blocks_(blocks_of(corpus, shape)) {}

Batch StreamReader::read(const BatchPlace& place, std::int64_t first, std::int64_t count) const {
  if (place.block < 0 || place.block >= blocks_ || first < 0 || first + count > streams_)
    throw InternalError(fmt::format("block {} of streams {} to {} was asked of {} blocks and {} streams", place.block,
                                    first, first + count - 1, blocks_, streams_));
  return batch_of(corpus_, count, segment_,
                  [&](std::int64_t i) { return ((first + i) * blocks_ + place.block) * segment_; });
}

namespace {
const bool added = registry<BatchKind>().add(
    {"streams", "side by side, each from block to block without a gap", by_constructor<StreamReader>});
}  // namespace
}  // namespace weir
