#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y[..., d] = weight[ids[...], d]. weight: [V, D] floating; ids: int64, int32 or uint8 of any shape, values 0..V-1;
// y: ids' shape + [D], of dtype `out`: weight's, or bf16 out of float32.
Tensor embedding(const Tensor& weight, const Tensor& ids, DType out);
inline Tensor embedding(const Tensor& weight, const Tensor& ids) { return embedding(weight, ids, weight.dtype()); }

extern Kernel<void(const Tensor& weight, const Tensor& ids, const Tensor& y)> embedding_kernel;
// dweight[v] = sum of dy over the positions where ids is v, in row-major order.
extern Kernel<void(const Tensor& ids, const Tensor& dy, const Tensor& dweight)> embedding_backward_kernel;

}  // namespace weir
