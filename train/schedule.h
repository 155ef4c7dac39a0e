// The learning rate over a run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/config.h"

namespace weir {

// The learning rate of update number `step` (from 0). After the linear warm-up, which reaches optimizer.lr with its
// last update, a cosine falls to optimizer.min_lr as `progress` goes from 0 to 1; beyond 1 it stays there.
double learning_rate(const OptimizerConfig& config, std::int64_t step, double progress);

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
