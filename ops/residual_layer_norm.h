#pragma once

#include "core/kernel.h"
#include "core/philox.h"
#include "core/tensor.h"
#include "ops/layer_norm.h"

namespace weir {

struct ResidualLayerNorm {
  Tensor sum, normed;  // of x's shape

  void for_each_tensor(auto&& f) const { f(sum), f(normed); }
};

// What stands between two blocks of a pre-layernorm Transformer, in one pass over memory:
//   sum = x + dropout(branch, p, random),  normed = layer_norm(sum, weight, bias, eps).
// x and branch: [..., D] of one floating dtype, weight and bias: [D] of that dtype, or float32 beside bf16. p: in [0,
// 1); 0 draws nothing. The norm sees `sum` as it is stored, rounded to the activations' dtype.
ResidualLayerNorm residual_layer_norm(const Tensor& x, const Tensor& branch, const Tensor& weight, const Tensor& bias,
                                      double eps, double p, const RandomStream& random);

// The same from add_dropout and layer_norm.
ResidualLayerNorm residual_layer_norm_composed(const Tensor& x, const Tensor& branch, const Tensor& weight,
                                               const Tensor& bias, double eps, double p, const RandomStream& random);

extern Kernel<void(const Tensor& x, const Tensor& branch, const Tensor& weight, const Tensor& bias, double eps,
                   double p, const RandomStream& random, const ResidualLayerNorm& out, const RowStatistics& statistics)>
    residual_layer_norm_kernel;
// From the gradients of both outputs: dx = dsum + what comes through the norm, dbranch = dropout(dx). dsum: undefined
// for none. dbranch: undefined where it is not wanted, as it is for p = 0, where it would be dx.
extern Kernel<void(const Tensor& sum, const Tensor& weight, const RowStatistics& statistics, const Tensor& dsum,
                   const Tensor& dnormed, double p, const RandomStream& random, const Tensor& dx, const Tensor& dbranch,
                   const Tensor& dweight, const Tensor& dbias)>
    residual_layer_norm_backward_kernel;

}  // namespace weir
