#pragma once

#include <cmath>
#include <cstdint>

#include "core/kernel.h"
#include "core/philox.h"
#include "core/tensor.h"

namespace weir {

// Element i in row-major order, pads left out, is low + (high - low) * random.uniform(i), in [low, high), where both
// bounds are rounded to `dtype`; what would be rounded to `high` becomes the number before it. The 24 random bits of an
// element serve every dtype, and the result is the same to the bit on every device; no gradient.
Tensor uniform(const Shape& shape, double low, double high, const RandomStream& random, DType dtype,
               Device device = {});

// Numbers of a range from 24 random bits, in steps of its width / 2^24; none is above `last`. The sum is fused, so that
// it is rounded once, whatever a compiler makes of sums and products.
struct UniformRange {
  double low, step, last;

  WEIR_HOST_DEVICE double operator()(std::uint32_t bits) const {
    const double value = std::fma(step, static_cast<double>(bits), low);
    return value < last ? value : last;
  }
};

// That of [low, high) in `dtype`. Throws ArgumentError where it would be empty, or wider than numbers are.
UniformRange uniform_range(double low, double high, DType dtype);

extern Kernel<void(const UniformRange& range, const RandomStream& random, const Tensor& y)> uniform_kernel;

}  // namespace weir
