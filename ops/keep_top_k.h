#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y = x where x is at least the k-th largest element of its row, else 0. Rows are the last axis of x [..., E]; elements
// equal to the k-th largest all stay. NaN stays too, so that it is not hidden. The gradient passes where y is not 0;
// the choice itself has none. Throws ArgumentError unless 1 <= k <= E.
Tensor keep_top_k(const Tensor& x, std::int64_t k);

extern Kernel<void(const Tensor& x, std::int64_t k, const Tensor& y)> keep_top_k_kernel;
// dx = dy where y is not 0, else 0.
extern Kernel<void(const Tensor& y, const Tensor& dy, const Tensor& dx)> keep_top_k_backward_kernel;

}  // namespace weir
