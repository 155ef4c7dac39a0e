#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

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
  // Becomes 1 with the first update that leaves a value or a moment beyond kLargestSound or not a number; float64 of
  // rank 0. May be undefined: nobody asks.
  Tensor unsound{};

  void for_each_tensor(auto&& f) const { f(first_moment), f(second_moment), f(updates), f(unsound); }
};

// No weight that computes anything comes near it, nor does a mean of gradients or the root of a mean of squares.
constexpr double kLargestSound = 1e12;

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

// A number's size as a whole number of its width: in the same order, with infinity and then NaN above all. Where the
// largest is taken of these, the loop is vectorised.
template <class Value>
using SizeBits = std::conditional_t<sizeof(Value) == 8, std::int64_t, std::int32_t>;
template <class Value>
WEIR_HOST_DEVICE inline SizeBits<Value> size_bits(Value x) {
  return std::bit_cast<SizeBits<Value>>(x) & std::numeric_limits<SizeBits<Value>>::max();
}
template <class Value>
WEIR_HOST_DEVICE inline bool is_sound(SizeBits<Value> largest) {
  return largest <= size_bits(Value(kLargestSound));
}

// What the loop over elements needs, settled in float64 once per update by every device in the same way.
struct AdamWCoefficients {
  double decay, rate, root, factor;  // lr * weight_decay, lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t)
  bool applies;
};
WEIR_HOST_DEVICE inline AdamWCoefficients adamw_coefficients(double updates_before, double learning_rate, double factor,
                                                             const AdamWSettings& settings) {
  const double t = updates_before + 1;
  // 1 - beta^t, without cancelling where beta^t is close to 1
  const double correction1 = -std::expm1(t * std::log(settings.beta1)),
               correction2 = -std::expm1(t * std::log(settings.beta2));
  return {learning_rate * settings.weight_decay, learning_rate / correction1, 1 / std::sqrt(correction2), factor,
          std::isfinite(factor)};
}

// beta * old + (1 - beta) * x * y. In float32 a beta close to 1 is off by a good part of 1 - beta: so it is taken as
// 1 - (1 - beta), and only the difference, settled in float64, is rounded.
template <class Value>
struct RunningMean {
  Value whole, rest, share;  // beta = whole + rest, with whole 0 or 1; share = 1 - beta

  WEIR_HOST_DEVICE explicit RunningMean(double beta)
      : whole(beta < 0.5 ? 0 : 1), rest(Value(beta < 0.5 ? beta : beta - 1)), share(Value(1 - beta)) {}
  WEIR_HOST_DEVICE Value operator()(Value old, Value x, Value y) const {
    return whole * old + (rest * old + share * x * y);
  }
};

// The update of one element. Weight decay is subtracted: 1 - lr * weight_decay would lose it to rounding.
template <class Value>
struct AdamWElement {
  RunningMean<Value> first, second;
  Value eps, decay, rate, root, factor;

  WEIR_HOST_DEVICE AdamWElement(const AdamWSettings& settings, const AdamWCoefficients& c)
      : first(settings.beta1),
        second(settings.beta2),
        eps(settings.eps > 0 && !(Value(settings.eps) > 0) ? std::numeric_limits<Value>::min() : Value(settings.eps)),
        decay(Value(c.decay)),
        rate(Value(c.rate)),
        root(Value(c.root)),
        factor(Value(c.factor)) {}

  // Returns the largest size of what it leaves: value, mean, root of the mean of squares.
  template <class T>
  WEIR_HOST_DEVICE SizeBits<Value> operator()(T& p, T gradient, T& m, T& v) const {
    const Value g = static_cast<Value>(gradient) * factor;
    const Value m_new = first(static_cast<Value>(m), g, 1);
    // A sum that overflowed stays infinite, where subtracting a part of it would give NaN, and its element where it is.
    constexpr Value kInfinity = std::numeric_limits<Value>::infinity();
    const Value next = second(static_cast<Value>(v), g, g), v_new = next < kInfinity ? next : kInfinity;
    m = T(m_new);
    v = T(v_new);
    const Value value = static_cast<Value>(p);
    const Value square = std::sqrt(v_new), updated = value - (decay * value + rate * m_new / (square * root + eps));
    p = T(updated);
    const SizeBits<Value> a = size_bits(updated), b = size_bits(m_new), c = size_bits(square), ab = a > b ? a : b;
    return ab > c ? ab : c;
  }
};

}  // namespace weir
