#pragma once

#include "core/kernel.h"
#include "core/philox.h"
#include "core/tensor.h"

namespace weir {

// Element i in row-major order, pads left out, is random.bits(i) * bound / 2^32 rounded down: int32 in [0, bound),
// where 1 <= bound < 2^31; no gradient.
Tensor random_integers(const Shape& shape, std::int64_t bound, const RandomStream& random, Device device = {});

extern Kernel<void(std::int64_t bound, const RandomStream& random, const Tensor& y)> random_integers_kernel;

}  // namespace weir
