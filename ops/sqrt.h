#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// The square root, element by element: NaN below 0; the gradient at 0 is infinite.
Tensor sqrt(const Tensor& x);

extern Kernel<void(const Tensor& x, const Tensor& y)> sqrt_kernel;
extern Kernel<void(const Tensor& y, const Tensor& dy, const Tensor& dx)> sqrt_backward_kernel;

}  // namespace weir
