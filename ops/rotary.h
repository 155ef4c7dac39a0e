#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"
#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// Rotary position embedding (Su et al. 2021). x: [B, T, H, P], P even, row t of a head at position first_position + t.
// Elements i and i + P/2 are a pair, which turns by the angle a = position * base^(-2i / P):
//   y[i] = x[i] cos a - x[i + P/2] sin a,   y[i + P/2] = x[i] sin a + x[i + P/2] cos a
// This is the "half-split" convention of GPT-NeoX and Llama. The paper pairs neighbours, 2i and 2i + 1; weights made
// for one convention fit the other after permuting the elements of each head.
// Products of a turned query and a turned key depend on the distance of their positions alone. Angles are computed in
// float64: at position 2^20 they are off by less than 1e-9. Any strides.
Tensor rotary(const Tensor& x, std::int64_t first_position, double base = 10000);

struct Rotation {
  std::int64_t first_position;
  double base;
  bool inverse;  // by the negative angles
};

// What positions are multiplied by to give the angles of pair i.
WEIR_HOST_DEVICE inline double rotary_frequency(double base, std::int64_t i, std::int64_t width) {
  return std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(width));
}

// First and second element of a pair, as they turn.
template <class Value>
struct RotaryPair {
  Value first, second;

  WEIR_HOST_DEVICE RotaryPair turned(Value cosine, Value sine) const {
    return {first * cosine - second * sine, first * sine + second * cosine};
  }
};

extern Kernel<void(const Tensor& x, const Rotation& rotation, const Tensor& y)> rotary_kernel;

}  // namespace weir
