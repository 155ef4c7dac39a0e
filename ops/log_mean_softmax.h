#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y[..., e] = ln of the mean over n of softmax(x[..., n, :])[e]. x: [..., N, E], N of 1 or more; y: [..., E]. Taken
// from logarithms throughout, so that a probability too small for its type still has one. Where x[..., e] is -infinity
// in all rows so is y[e], and nothing flows back from it.
Tensor log_mean_softmax(const Tensor& x);

// The same by log_softmax and logsumexp, which can be differentiated again.
Tensor log_mean_softmax_composed(const Tensor& x);

extern Kernel<void(const Tensor& x, const Tensor& y)> log_mean_softmax_kernel;
// With p = softmax(x[n]) and w[e] = dy[e] p[e] / (N e^y[e]): dx[n, e] = w[e] - p[e] (sum of w).
extern Kernel<void(const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& dx)>
    log_mean_softmax_backward_kernel;

}  // namespace weir
