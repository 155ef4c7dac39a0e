#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y[..., d] = sum over j of weight[..., j] values[index[..., j], d].
// weight [..., K] and index [..., K] (int32 or int64, 0..V-1); values [V, D]; y [..., D] in weight's dtype. All
// floating tensors have one dtype, or weight is bf16 and values float32. In `backward` the gradient of a leaf that has
// one already is added to in place, so that rows nobody named cost nothing.
Tensor gather_sum(const Tensor& weight, const Tensor& index, const Tensor& values);

extern Kernel<void(const Tensor& weight, const Tensor& index, const Tensor& values, const Tensor& y)> gather_sum_kernel;
// dweight[..., j] = dy . values[index[..., j]]; dvalues[v] = (+= with `accumulate`) the sum of weight * dy over the
// places where index is v, in row-major order. Undefined dweight or dvalues are not wanted.
struct GatherSumGradients {
  Tensor dweight, dvalues;
  bool accumulate = false;

  void for_each_tensor(auto&& f) const { f(dweight), f(dvalues); }
};
extern Kernel<void(const Tensor& weight, const Tensor& index, const Tensor& values, const Tensor& dy,
                   const GatherSumGradients& wanted)>
    gather_sum_backward_kernel;

}  // namespace weir
