#include "train/data.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "core/error.h"

namespace weir {

ByteCorpus::ByteCorpus(const std::string& path) : file_(std::make_shared<const MappedFile>(path)) {
  const auto bytes = file_->bytes();
  tokens_ = {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

ByteCorpus ByteCorpus::part(std::int64_t begin, std::int64_t end) const {
  ByteCorpus result = *this;
  result.tokens_ = tokens_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  return result;
}

Corpora open_corpora(const std::string& train_path, const std::string& valid_path, double valid_fraction) {
  if (train_path.empty()) throw ArgumentError("data.train is not set: name a text file with data.train=FILE");
  const ByteCorpus train(train_path);
  if (!valid_path.empty()) return {train, ByteCorpus(valid_path)};
  const auto held_back = static_cast<std::int64_t>(std::ceil(valid_fraction * static_cast<double>(train.size())));
  const std::int64_t split = train.size() - held_back;
  return {train.part(0, split), train.part(split, train.size())};
}

StreamReader::StreamReader(const ByteCorpus& corpus, std::int64_t streams, std::int64_t segment,
                           const std::string& setting)
    : corpus_(corpus),
      streams_(streams),
      segment_(segment),
      blocks_(corpus.size() == 0 ? 0 : (corpus.size() - 1) / segment / streams) {
  if (blocks_ == 0)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: this part of the file has {} bytes, but {} streams of model.segment = {} need at "
                               "least {}; give more text, or lower {} or model.segment",
                               corpus.path(), corpus.size(), streams, segment, streams * segment + 1, setting));
}

Batch StreamReader::read(std::int64_t block, std::int64_t first, std::int64_t count) const {
  if (block < 0 || block >= blocks_ || first < 0 || first + count > streams_)
    throw InternalError(fmt::format("block {} of streams {} to {} was asked of {} blocks and {} streams", block, first,
                                    first + count - 1, blocks_, streams_));
  Batch batch{Tensor::empty({count, segment_}, DType::uint8), Tensor::empty({count, segment_}, DType::uint8)};
  const auto inputs = rows_of<std::uint8_t>(batch.inputs), targets = rows_of<std::uint8_t>(batch.targets);
  for (std::int64_t b = 0; b < count; ++b) {
    const std::uint8_t* const from = corpus_.tokens().data() + ((first + b) * blocks_ + block) * segment_;
    std::memcpy(inputs.row(b), from, static_cast<std::size_t>(segment_));
    std::memcpy(targets.row(b), from + 1, static_cast<std::size_t>(segment_));
  }
  return batch;
}

}  // namespace weir
