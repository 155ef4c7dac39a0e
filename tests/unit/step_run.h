// Steps of a small Transformer-XL on made-up batches, without a run folder.
#pragma once

#include <optional>
#include <vector>

#include "models/transformer_xl.h"
#include "ops/support/samples.h"
#include "train/training_step.h"

namespace weir::tests {

// What a group of streams trains on in a step: random tokens and those after them.
inline Batch batch_of(const Config& config, std::int64_t step, std::int64_t group) {
  const std::int64_t streams = config.train.batch_size / config.train.accumulate, segment = config.model.segment;
  const Tensor all = random_indices({streams, segment + 1}, static_cast<std::uint64_t>(10 * step + group + 1),
                                    config.model.vocabulary, DType::int32);
  return {clone(slice_view(all, 1, 0, segment)), clone(slice_view(all, 1, 1, segment + 1))};
}

struct StepRun {
  StepRun(const Config& c, DType dtype, Device device, StepMode mode = StepMode::recorded)
      : config(c), model(config.model, config.feedforward) {
    model.initialise(5, dtype, device);
    update.emplace(config, model, mode);
  }
  TrainingStep::Result step(std::int64_t number, const StepLimits& limits, bool collect_statistics) {
    return (*update)([&](std::int64_t group) { return batch_of(config, number, group); }, memories, number,
                     config.optimizer.lr, collect_statistics, limits);
  }

  const Config config;
  TransformerXl model;
  std::optional<TrainingStep> update;
  std::vector<Memory> memories;
};

}  // namespace weir::tests
