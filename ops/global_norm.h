#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// The L2 norm of all elements together, a float64 of rank 0, summed in float64 in a fixed order; no gradient.
Tensor global_norm(const Tensor& x);

// x: [N] with unit stride, may be empty; norm: float64 of rank 0.
extern Kernel<void(const Tensor& x, const Tensor& norm)> global_norm_kernel;

}  // namespace weir
