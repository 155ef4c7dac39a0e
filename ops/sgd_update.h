#pragma once

#include <cmath>
#include <cstdint>

#include "core/kernel.h"
#include "core/tensor.h"
#include "ops/adamw_update.h"

namespace weir {

struct SgdSettings {
  double momentum = 0;
  bool nesterov = false;  // changes nothing without momentum
  double weight_decay = 0;
  bool decoupled = false;  // decay: false: added to the gradient (L2), true: taken from the value apart from it
};

// What SGD keeps from update to update.
struct SgdState {
  Tensor momentum;   // like the values; undefined where settings.momentum is 0
  Tensor updates{};  // made so far; float64 of rank 0, or undefined: nobody counts
  // Becomes 1 with the first update that leaves a value or a momentum beyond kLargestSound or not a number; float64 of
  // rank 0. May be undefined: nobody asks.
  Tensor unsound{};

  void for_each_tensor(auto&& f) const { f(momentum), f(updates), f(unsound); }
};

// One update in place, as torch.optim.SGD makes it, from b = 0 and without dampening:
//   g = factor * gradients + l2 * values      b = momentum b + g      d = nesterov ? g + momentum b : b
//   values -= lr * (decay * values + d)
// where weight_decay is `decay` if decoupled (Loshchilov & Hutter 2019), else `l2`.
// values, gradients, momentum: [N], dense, of one dtype; lr, factor: float64 of rank 0 on the same device. A factor
// that is not finite leaves everything as it is. No gradient.
void sgd_update(const Tensor& values, const Tensor& gradients, const SgdState& state, const Tensor& learning_rate,
                const Tensor& factor, const SgdSettings& settings);

extern Kernel<void(const Tensor& values, const Tensor& gradients, const SgdState& state, const Tensor& learning_rate,
                   const Tensor& factor, const SgdSettings& settings)>
    sgd_update_kernel;

// The update of one element. Decoupled decay is subtracted: 1 - lr * weight_decay would lose it to rounding.
template <class Value>
struct SgdElement {
  Value momentum, l2, decay, rate, factor;
  bool nesterov;

  WEIR_HOST_DEVICE SgdElement(const SgdSettings& settings, double learning_rate, double gradient_factor)
      : momentum(Value(settings.momentum)),
        l2(Value(settings.decoupled ? 0 : settings.weight_decay)),
        decay(Value(settings.decoupled ? learning_rate * settings.weight_decay : 0)),
        rate(Value(learning_rate)),
        factor(Value(gradient_factor)),
        nesterov(settings.nesterov) {}

  // Both return the largest size of what they leave.
  template <class T>
  WEIR_HOST_DEVICE SizeBits<Value> operator()(T& p, T gradient) const {
    const Value value = static_cast<Value>(p);
    return move(p, value, static_cast<Value>(gradient) * factor + l2 * value);
  }
  template <class T>
  WEIR_HOST_DEVICE SizeBits<Value> operator()(T& p, T gradient, T& b) const {
    const Value value = static_cast<Value>(p), g = static_cast<Value>(gradient) * factor + l2 * value;
    const Value b_new = momentum * static_cast<Value>(b) + g;
    b = T(b_new);
    const SizeBits<Value> moved = move(p, value, nesterov ? g + momentum * b_new : b_new), kept = size_bits(b_new);
    return moved > kept ? moved : kept;
  }

 private:
  template <class T>
  WEIR_HOST_DEVICE SizeBits<Value> move(T& p, Value value, Value direction) const {
    const Value updated = value - (decay * value + rate * direction);
    p = T(updated);
    return size_bits(updated);
  }
};

}  // namespace weir
