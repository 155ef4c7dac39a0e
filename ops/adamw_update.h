#pragma once

#include <cmath>

#include "core/kernel.h"
#include "core/philox.h"
#include "core/tensor.h"

namespace weir {

struct AdamWSettings {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};

// What AdamW keeps from update to update.
struct AdamWState {
  Tensor first_moment, second_moment;  // like the values
  Tensor updates;                      // made so far; float64 of rank 0
};

// One update in place, with g = factor * gradients (Loshchilov & Hutter 2019):
//   m = beta1 m + (1 - beta1) g      v = beta2 v + (1 - beta2) g^2      t = updates + 1
//   values -= lr * (weight_decay * values + m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps))
// values, gradients, moments: [N], dense, of one dtype; lr, factor: float64 of rank 0 on the same device. A factor that
// is not finite leaves everything as it is. No gradient.
void adamw_update(const Tensor& values, const Tensor& gradients, const AdamWState& state, const Tensor& learning_rate,
                  const Tensor& factor, const AdamWSettings& settings);

extern Kernel<void(const Tensor& values, const Tensor& gradients, const AdamWState& state, const Tensor& learning_rate,
                   const Tensor& factor, const AdamWSettings& settings)>
    adamw_update_kernel;

// What the loop over elements needs, computed once per update by every device in the same way:
//   p = keep * p - rate * m / (root * sqrt(v) + eps)
struct AdamWCoefficients {
  double keep, rate, root, factor;
  bool applies;
};
WEIR_HOST_DEVICE inline AdamWCoefficients adamw_coefficients(double updates_before, double learning_rate, double factor,
                                                             const AdamWSettings& settings) {
  const double t = updates_before + 1;
  const double correction1 = 1 - std::pow(settings.beta1, t), correction2 = 1 - std::pow(settings.beta2, t);
  return {1 - learning_rate * settings.weight_decay, learning_rate / correction1, 1 / std::sqrt(correction2), factor,
          std::isfinite(factor)};
}

}  // namespace weir
