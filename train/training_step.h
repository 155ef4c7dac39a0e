// One update of a model: the loss and gradient of each group of streams, clipping, the optimiser. What `weir bench
// step` times.
//
// Nothing that the device computes is read before the update is made: learning rate, step number, loss, norm and the
// decision to skip a step live in the device's memory. So the whole step is one queue of work, which a GPU records once
// (a CUDA graph) and replays from then on; the results are read once at its end.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "core/device.h"
#include "models/language_model.h"
#include "train/batch_source.h"
#include "train/config.h"
#include "train/data.h"
#include "train/optimizer/optimizer.h"
#include "train/spike_detector.h"

namespace weir {

// How a device that can record gets its work: both give the same bits.
enum class StepMode {
  recorded,  // replayed as a whole, once the memory has its full length
  eager,     // kernel by kernel, at every step
};

class TrainingStep {
 public:
  TrainingStep(const Config& config, const LanguageModel& model, StepMode mode = StepMode::recorded);

  struct Result {
    double loss = 0;  // nats per token, without regularisers
    double auxiliary_loss = 0;
    double gradient_norm = 0;  // before clipping
    // Whether the optimizer counted an update. It made none where loss or norm was not finite or above its limit:
    // weights, moments and buffers are untouched.
    bool applied = false;
    bool sound = true;  // false once an update left a weight or a moment not finite or absurd (Optimizer::unsound())
    std::vector<FeedforwardStatistics> statistics;  // per layer, of the last group
  };
  // `read(group)` gives the batch of a group of streams, on any device; `memories` are replaced by their successors.
  // Statistics are counted on the CPU: with `collect_statistics` the device is waited for inside the step.
  // The limits are numbers in the device's memory too, so that a step beyond them is skipped before anyone has read it.
  Result operator()(const std::function<Batch(std::int64_t)>& read, std::vector<Memory>& memories, std::int64_t step,
                    double learning_rate, bool collect_statistics, const StepLimits& limits = kNoLimits);

  static constexpr StepLimits kNoLimits{std::numeric_limits<double>::infinity(),
                                        std::numeric_limits<double>::infinity()};

  Optimizer& optimizer() { return *optimizer_; }
  bool is_recorded() const { return recorded_.work != nullptr; }

 private:
  // Work that is replayed finds batches and memories in tensors of its own.
  struct Recorded {
    std::unique_ptr<Recording> work;
    std::vector<Batch> batches;
    std::vector<Memory> memories;
  };

  void set_numbers(std::int64_t step, double learning_rate, const StepLimits& limits);
  ForwardContext context_of(std::int64_t step, std::int64_t group) const;
  // The step's work for the device: all groups, then the update.
  void run(const std::vector<Batch>& batches, std::vector<Memory>& memories, std::int64_t step,
           std::vector<FeedforwardStatistics>* statistics);
  // Forward and backward of one group; adds its share to the step's losses. Throws RunError(diverged) where tensors
  // are looked at and one is not finite.
  void run_group(const Batch& batch, Memory& memory, const ForwardContext& context,
                 std::vector<FeedforwardStatistics>& statistics);
  void update();
  // How a step is made. One repeats where the device may record, every memory has its full length and nobody counts
  // statistics: its work is that of all such steps to come. The first of them is the rehearsal, kernel by kernel like
  // those that do not repeat, for a recording takes neither a copy from the host nor memory from the driver: what
  // models (RelativePositions), kernels and libraries make at their first use is there afterwards. The second is
  // recorded, and it and all others are replayed.
  enum class Way { eager, rehearsal, replay };
  Way next_way(const std::vector<Memory>& memories, bool collect_statistics) const;
  void record_step(const std::vector<Batch>& batches, const std::vector<Memory>& memories);
  void replay(const std::vector<Batch>& batches, std::vector<Memory>& memories);
  Result results() const;

  const Config& config_;
  const LanguageModel& model_;
  const bool check_finite_;  // checks_finite(), train/diagnosis.h
  const bool may_record_;
  const std::unique_ptr<Optimizer> optimizer_;
  // On the model's device.
  Tensor learning_rate_;  // float64, rank 0
  Tensor first_pass_;     // int32, rank 0: number of the step's first forward pass
  Tensor limits_;         // float64 [2]: of loss and gradient norm
  Tensor sums_;           // float64 [6]: loss, auxiliary loss, gradient norm, what update() tells of the optimizer
  std::vector<Observation> observations_;  // of the step's passes so far
  bool rehearsed_ = false;
  Recorded recorded_;
};

}  // namespace weir
