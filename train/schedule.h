// The learning rate over a run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/registry.h"
#include "train/config.h"

namespace weir {

struct ScheduleKind {  // the rate after the warm-up, as `progress` goes from 0 to 1
  using Function = double (*)(const OptimizerConfig& config, double progress);
  static constexpr const char* setting = "optimizer.schedule";
};

// The learning rate of update number `step` (from 0). After the linear warm-up, which reaches optimizer.lr with its
// last update, the rate goes as the schedule says; beyond a `progress` of 1 it stays where it is.
double learning_rate(const OptimizerConfig& config, std::int64_t step, double progress);

// Whether the schedule asks for an end of the run, or of the decay.
bool needs_end(const OptimizerConfig& config);

// How far the decay has come at `step`: the share of optimizer.decay_steps made since the warm-up, or where that is 0
// the larger share of what limits the run, steps after the warm-up or time.
double decay_progress(const OptimizerConfig& optimizer, const TrainConfig& train, std::int64_t tokens_per_step,
                      std::int64_t step, double seconds);

// Steps that train.steps and train.tokens allow; 0 where neither limits the run.
std::int64_t step_limit(const TrainConfig& train, std::int64_t tokens_per_step);

// What ends a run: "train.steps", "train.tokens" or "train.minutes" and its value.
struct RunLimit {
  std::string key;
  double value = 0;

  std::string text() const;  // "train.minutes = 1.5"
};
std::vector<RunLimit> run_limits(const TrainConfig& train);  // those that are set, in this order

// The first of them that a run has reached after `step` steps and `seconds`; nothing where it goes on.
std::optional<RunLimit> reached_limit(const TrainConfig& train, std::int64_t tokens_per_step, std::int64_t step,
                                      double seconds);

}  // namespace weir
