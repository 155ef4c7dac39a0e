// AdamW over the flat parameter arena.
#pragma once

#include "models/parameter.h"
#include "ops/adamw_update.h"

namespace weir {

class AdamW {
 public:
  using Settings = AdamWSettings;

  AdamW(const ParameterSet& parameters, Settings settings);

  // One update with gradients times `factor`, both float64 of rank 0 on the parameters' device, so that nobody has to
  // read what was computed there; nothing happens where the factor is not finite (ops/adamw_update.h).
  void step(const Tensor& learning_rate, const Tensor& factor);
  void step(double learning_rate, double factor = 1);

  // The moments, laid out like the parameters' arena, and the number of updates made: what a checkpoint keeps.
  const Tensor& first_moment() const { return state_.first_moment; }
  const Tensor& second_moment() const { return state_.second_moment; }
  std::int64_t updates() const { return static_cast<std::int64_t>(state_.updates.item()); }
  void forget();  // moments and count of updates, as if none had been made
  // For weights and moments that were put in place of the old ones, which may have been unsound.
  void set_updates(std::int64_t updates) {
    fill(state_.updates, static_cast<double>(updates));
    fill(state_.unsound, 0);
  }
  // float64 of rank 0 on the parameters' device: 1 once an update left a weight or a moment not finite or absurd.
  const Tensor& unsound() const { return state_.unsound; }

 private:
  const ParameterSet& parameters_;
  Settings settings_;
  AdamWState state_;
};

}  // namespace weir
