// Sequences from anywhere in the corpus: each begins at a token that is drawn from the seed, the epoch, the block and
// the sequence's number, so that a run which resumes reads what it would have read.
#include "core/philox.h"
#include "train/batch_source.h"

namespace weir {
namespace {

class RandomWindows final : public BatchSource {
 public:
  RandomWindows(const Corpus& corpus, const BatchShape& shape)
      : corpus_(corpus), shape_(shape), blocks_(blocks_of(corpus, shape)) {}

  std::int64_t blocks_per_epoch() const override { return blocks_; }  // as many tokens as the corpus has
  Batch read(const BatchPlace& place, std::int64_t first, std::int64_t count) const override {
    const RandomStream random{shape_.seed, kStream, static_cast<std::uint32_t>(place.epoch)};
    const auto starts = static_cast<double>(corpus_.size() - shape_.segment);
    return batch_of(corpus_, count, shape_.segment, [&](std::int64_t i) {
      const auto number = static_cast<std::uint64_t>(place.block * shape_.sequences + first + i);
      const std::uint64_t high = random.bits(2 * number), low = random.bits(2 * number + 1);
      const double uniform = static_cast<double>(high << 21 | low >> 11) * 0x1p-53;  // [0, 1)
      return static_cast<std::int64_t>(uniform * starts);
    });
  }
  bool is_continuous() const override { return false; }

 private:
  static constexpr std::uint32_t kStream = 1U << 31;  // layers have smaller ones (ForwardContext::random)
  Corpus corpus_;
  BatchShape shape_;
  std::int64_t blocks_;
};

const bool added = registry<BatchKind>().add(
    {"windows", "each from a place drawn at random, for a model without memory", by_constructor<RandomWindows>});

}  // namespace
}  // namespace weir
