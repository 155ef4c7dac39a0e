#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y[.., k] = x[.., index[.., k]]. x: [.., E] floating; index: [.., K] int32 or int64 in [0, E), outer axes as x's;
// y: [.., K]. An index may occur more than once: gradients are added in order.
Tensor take_along(const Tensor& x, const Tensor& index);

extern Kernel<void(const Tensor& x, const Tensor& index, const Tensor& y)> take_along_kernel;
// dx[.., e] = sum of dy[.., k] over the k with index[.., k] = e, in the order of k.
extern Kernel<void(const Tensor& index, const Tensor& dy, const Tensor& dx)> take_along_backward_kernel;

}  // namespace weir
