// AdamW over the flat parameter arena, and the gradient's global norm.
#pragma once

#include "models/parameter.h"

namespace weir {

// The L2 norm of all gradients together, summed in float64 in a fixed order.
double gradient_norm(const ParameterSet& parameters);

// The factor that brings a gradient of that norm down to `clip` (1 where it is below, or clip is 0), as
// torch.nn.utils.clip_grad_norm_ computes it.
double clip_factor(double norm, double clip);

// Decoupled weight decay: p -= lr * (decay * p + m_hat / (sqrt(v_hat) + eps)) (Loshchilov & Hutter 2019).
class AdamW {
 public:
  struct Settings {
    double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  };

  AdamW(const ParameterSet& parameters, Settings settings);

  // One update with gradients times `gradient_factor`, in one pass over the arenas.
  void step(double lr, double gradient_factor);

  // The moments, laid out like the parameters' arena, and the number of updates made: what a checkpoint keeps.
  const Tensor& first_moment() const { return m_; }
  const Tensor& second_moment() const { return v_; }
  std::int64_t updates() const { return updates_; }
  void set_updates(std::int64_t updates) { updates_ = updates; }

 private:
  const ParameterSet& parameters_;
  Settings settings_;
  Tensor m_, v_;
  std::int64_t updates_ = 0;
};

}  // namespace weir
