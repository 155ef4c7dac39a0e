#pragma once

#include "core/kernel.h"
#include "core/philox.h"
#include "core/tensor.h"

namespace weir {

// Element i in row-major order, pads left out, is random.normal(i), of mean 0 and standard deviation 1; no gradient.
Tensor standard_normal(const Shape& shape, const RandomStream& random, DType dtype, Device device = {});

extern Kernel<void(const RandomStream& random, const Tensor& y)> standard_normal_kernel;

}  // namespace weir
