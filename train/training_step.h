// One update of a model: the loss and gradient of each group of streams, clipping, AdamW. What `weir bench step` times.
//
// Nothing that the device computes is read before the update is made: learning rate, step number, loss, norm and the
// decision to skip a step live in the device's memory, so the whole step is one queue of work. The results are read
// once at its end.
#pragma once

#include <functional>
#include <vector>

#include "models/transformer_xl.h"
#include "train/config.h"
#include "train/data.h"
#include "train/optimizer.h"

namespace weir {

class TrainingStep {
 public:
  TrainingStep(const Config& config, const TransformerXl& model);

  struct Result {
    double loss = 0;  // nats per token, without regularisers
    double auxiliary_loss = 0;
    double gradient_norm = 0;  // before clipping
    bool applied = false;      // false where loss or gradient was not finite: weights and moments are untouched
    std::vector<FeedforwardStatistics> statistics;  // per layer, of the last group
  };
  // `read(group)` gives the batch of a group of streams, on any device; `memories` are replaced by their successors.
  // Statistics are counted on the CPU: with `collect_statistics` the device is waited for inside the step.
  Result operator()(const std::function<Batch(std::int64_t)>& read, std::vector<Memory>& memories, std::int64_t step,
                    double learning_rate, bool collect_statistics);

  AdamW& optimizer() { return optimizer_; }

 private:
  // Forward and backward of one group; adds its share to the step's losses.
  void run_group(const Batch& batch, Memory& memory, const ForwardContext& context,
                 std::vector<FeedforwardStatistics>& statistics);
  void update();
  Result results() const;

  const Config& config_;
  const TransformerXl& model_;
  AdamW optimizer_;
  // On the model's device.
  Tensor learning_rate_;  // float64, rank 0
  Tensor first_pass_;     // int32, rank 0: number of the step's first forward pass
  Tensor sums_;           // float64 [3]: loss, auxiliary loss, gradient norm
};

}  // namespace weir
