#pragma once

#include "core/float32_products.h"
#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y[..., d] = sum over i and j of relu(a[..., i] + b[..., j]) values[i J + j, d]: what linear makes of outer_sum(a, b,
// relu) and the transposed values, but [..., I J] is never stored, neither forward nor backward. The activations are
// rounded to their dtype, the sums kept as products of matrices keep them.
// a: [..., I], b: [..., J], values: [I J, D]; y: [..., D]. One floating dtype, or a and b are bf16 and the values
// float32: then the products run in bf16, and the gradient of the values comes out in float32.
Tensor outer_sum_product(const Tensor& a, const Tensor& b, const Tensor& values,
                         Float32Products products = Float32Products::ieee);

// values has a's dtype here.
extern Kernel<void(const Tensor& a, const Tensor& b, const Tensor& values, Float32Products products, const Tensor& y)>
    outer_sum_product_kernel;
// Undefined gradients are not wanted; but da and db are wanted together.
struct OuterSumProductGradients {
  Tensor da, db, dvalues;

  void for_each_tensor(auto&& f) const { f(da), f(db), f(dvalues); }
};
extern Kernel<void(const Tensor& a, const Tensor& b, const Tensor& values, const Tensor& dy, Float32Products products,
                   const OuterSumProductGradients& wanted)>
    outer_sum_product_backward_kernel;

}  // namespace weir
