#pragma once

#include "core/kernel.h"
#include "core/tensor.h"
#include "ops/linear.h"

namespace weir {

// y[..., i * J + j] = activation(a[..., i] + b[..., j]): every pair of one row of a [..., I] and one of b [..., J].
Tensor outer_sum(const Tensor& a, const Tensor& b, Activation activation = Activation::none);

extern Kernel<void(const Tensor& a, const Tensor& b, Activation activation, const Tensor& y)> outer_sum_kernel;
// da[..., i] = sum over j of dy[..., i * J + j], db[..., j] = sum over i; with relu, of the pairs whose sum is
// positive.
extern Kernel<void(const Tensor& a, const Tensor& b, Activation activation, const Tensor& dy, const Tensor& da,
                   const Tensor& db)>
    outer_sum_backward_kernel;

}  // namespace weir
