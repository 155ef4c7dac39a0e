#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// ln(sum of e^x) along `axis`, which stays with extent 1 if `keep_axis`. Large values do not overflow; an empty sum and
// a sum over -infinity are -infinity. bf16 is computed in float. Gradients of infinite results are limits, not NaN:
// nothing flows into a sum over -infinity, and all of a sum with +infinity in equal parts to the elements that are it.
Tensor logsumexp(const Tensor& x, int axis, bool keep_axis = false);

// Along the last axis. x, dx: [.., E]; y, dy: [.., 1].
extern Kernel<void(const Tensor& x, const Tensor& y)> logsumexp_kernel;
// dx = dy e^(x - y); for infinite y as above.
extern Kernel<void(const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& dx)> logsumexp_backward_kernel;

}  // namespace weir
