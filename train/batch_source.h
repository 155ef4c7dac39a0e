// What a training step reads: batches of a corpus, in the order that one kind of source gives them. Each kind registers
// itself; data.order names it.
#pragma once

#include <cstdint>
#include <memory>

#include "core/registry.h"
#include "core/tensor.h"
#include "train/data.h"

namespace weir {

struct Batch {
  Tensor inputs;   // [B, T] int32
  Tensor targets;  // [B, T] int32: the inputs one token later
};

// One block of every sequence is read per step; after the last the next epoch begins.
struct BatchPlace {
  std::int64_t epoch = 0, block = 0;
};

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual std::int64_t blocks_per_epoch() const = 0;
  // Sequences first .. first + count - 1 of what is read at `place`: a function of these alone.
  virtual Batch read(const BatchPlace& place, std::int64_t first, std::int64_t count) const = 0;
  // Whether a sequence goes on in the next block where it ended in this one, so that memory is of use.
  virtual bool is_continuous() const = 0;

  BatchPlace next(BatchPlace place) const;
  BatchPlace previous(BatchPlace place) const;  // of the first place: the last one of its epoch
};

// What is cut out of a corpus.
struct BatchShape {
  std::int64_t sequences, segment;           // B, T
  std::uint64_t seed = 0;                    // of what is drawn
  const char* setting = "train.batch_size";  // what to lower where the corpus is too short
};

struct BatchKind {  // throws RunError(bad_data) where the corpus is too short for one block
  using Function = std::unique_ptr<BatchSource> (*)(const Corpus& corpus, const BatchShape& shape);
  static constexpr const char* setting = "data.order";
};

// What data.order names, for a run. Throws ArgumentError where a memory would be carried between blocks that do not
// follow each other.
std::unique_ptr<BatchSource> open_batches(const Config& config, const Corpus& corpus);

// Parallel streams without shuffling. A corpus of n tokens has floor((n - 1) / T) blocks of T tokens. Stream b of B
// covers floor(blocks / B) consecutive blocks; step k feeds block k of every stream, so that the memory carried from
// step to step stays contiguous. Blocks and tails that are left over are not used. At the end the streams start again,
// with empty memory.
class StreamReader final : public BatchSource {
 public:
  StreamReader(const Corpus& corpus, const BatchShape& shape);

  std::int64_t blocks_per_epoch() const override { return blocks_; }
  Batch read(const BatchPlace& place, std::int64_t first, std::int64_t count) const override;
  bool is_continuous() const override { return true; }

 private:
  Corpus corpus_;
  std::int64_t streams_, segment_, blocks_;
};

// floor((n - 1) / (B T)) of a corpus of n tokens. Throws RunError(bad_data) where that is 0.
std::int64_t blocks_of(const Corpus& corpus, const BatchShape& shape);

// A batch whose sequence i is what `start(i)` says, of `count` sequences.
template <class Start>
Batch batch_of(const Corpus& corpus, std::int64_t count, std::int64_t segment, Start&& start) {
  Batch batch{Tensor::empty({count, segment}, DType::int32), Tensor::empty({count, segment}, DType::int32)};
  const auto inputs = rows_of<std::int32_t>(batch.inputs), targets = rows_of<std::int32_t>(batch.targets);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(segment + 1));
  for (std::int64_t i = 0; i < count; ++i) {
    corpus.read(start(i), tokens);
    std::copy(tokens.begin(), tokens.end() - 1, inputs.row(i));
    std::copy(tokens.begin() + 1, tokens.end(), targets.row(i));
  }
  return batch;
}

}  // namespace weir
