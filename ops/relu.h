#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// max(x, 0), element by element; the gradient at 0 is 0. Any shape.
Tensor relu(const Tensor& x);

extern Kernel<void(const Tensor& x, const Tensor& y)> relu_kernel;
extern Kernel<void(const Tensor& y, const Tensor& dy, const Tensor& dx)> relu_backward_kernel;

}  // namespace weir
