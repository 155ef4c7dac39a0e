#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y[.., i, ..] = x[.., 0, ..] + ... + x[.., i, ..] along `axis`; `reverse` sums from the end, x[.., i, ..] + ... +
// x[.., E - 1, ..]. Sums of bf16 are kept in float. The gradient runs the other way.
Tensor cumsum(const Tensor& x, int axis, bool reverse = false);

// axis: not counted from the end.
extern Kernel<void(const Tensor& x, int axis, bool reverse, const Tensor& y)> cumsum_kernel;

}  // namespace weir
