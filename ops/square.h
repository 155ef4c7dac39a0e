#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// x * x, element by element.
Tensor square(const Tensor& x);

extern Kernel<void(const Tensor& x, const Tensor& y)> square_kernel;
extern Kernel<void(const Tensor& x, const Tensor& dy, const Tensor& dx)> square_backward_kernel;

}  // namespace weir
