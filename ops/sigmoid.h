#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// 1 / (1 + e^-x), element by element.
Tensor sigmoid(const Tensor& x);

extern Kernel<void(const Tensor& x, const Tensor& y)> sigmoid_kernel;
extern Kernel<void(const Tensor& y, const Tensor& dy, const Tensor& dx)> sigmoid_backward_kernel;

}  // namespace weir
