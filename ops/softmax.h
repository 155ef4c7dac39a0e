#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// e^x / (sum of e^x) over the last axis. x: [.., E]. Where x is -infinity the result is exactly 0; a row of nothing but
// -infinity is NaN. bf16 is computed in float.
Tensor softmax(const Tensor& x);

extern Kernel<void(const Tensor& x, const Tensor& y)> softmax_kernel;
// dx = y (dy - sum of y dy).
extern Kernel<void(const Tensor& y, const Tensor& dy, const Tensor& dx)> softmax_backward_kernel;

}  // namespace weir
