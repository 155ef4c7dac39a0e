#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// The natural logarithm, element by element: -infinity at 0, NaN below.
Tensor log(const Tensor& x);

extern Kernel<void(const Tensor& x, const Tensor& y)> log_kernel;

}  // namespace weir
