#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// x - ln(sum of e^x) over the last axis. x: [.., E]. Where x is -infinity so is the result; a row of nothing but
// -infinity is NaN. bf16 is computed in float.
Tensor log_softmax(const Tensor& x);

extern Kernel<void(const Tensor& x, const Tensor& y)> log_softmax_kernel;
// dx = dy - e^y (sum of dy).
extern Kernel<void(const Tensor& y, const Tensor& dy, const Tensor& dx)> log_softmax_backward_kernel;

}  // namespace weir
