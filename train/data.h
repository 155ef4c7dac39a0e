// Training data: the bytes of a file as tokens, read in parallel streams without shuffling.
//
// A corpus of n tokens has floor((n - 1) / T) blocks of T tokens. Stream b of B covers floor(blocks / B) consecutive
// blocks; step k feeds block k of every stream, so that the memory carried from step to step stays contiguous. Blocks
// and tails that are left over are not used. At the end the streams start again, with empty memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/file.h"
#include "core/tensor.h"

namespace weir {

// A stretch of a mapped file, one token per byte.
class ByteCorpus {
 public:
  explicit ByteCorpus(const std::string& path);
  // The part from `begin` to `end` (tokens), sharing the file.
  ByteCorpus part(std::int64_t begin, std::int64_t end) const;

  std::span<const std::uint8_t> tokens() const { return tokens_; }
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  const std::string& path() const { return file_->path(); }

 private:
  std::shared_ptr<const MappedFile> file_;
  std::span<const std::uint8_t> tokens_;
};

struct Corpora {
  ByteCorpus train, valid;
};
// The training and validation data that a configuration names: a validation file, or the last part of the training one.
Corpora open_corpora(const std::string& train_path, const std::string& valid_path, double valid_fraction);

struct Batch {
  Tensor inputs;   // [B, T] uint8
  Tensor targets;  // [B, T] uint8: the inputs one token later
};

class StreamReader {
 public:
  // Throws RunError(bad_data) where the corpus is too short for one block per stream; `setting` names what to lower.
  StreamReader(const ByteCorpus& corpus, std::int64_t streams, std::int64_t segment, const std::string& setting);

  std::int64_t blocks_per_stream() const { return blocks_; }
  // Block number `block` of streams first .. first + count - 1.
  Batch read(std::int64_t block, std::int64_t first, std::int64_t count) const;

 private:
  ByteCorpus corpus_;
  std::int64_t streams_, segment_, blocks_;
};

}  // namespace weir
