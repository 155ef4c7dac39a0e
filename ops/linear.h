#pragma once

#include "core/float32_products.h"
#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

enum class Activation { none, relu };

// y[..., o] = activation(sum over i of x[..., i] weight[o, i] + bias[o]).
// x: [..., I], weight: [O, I], bias: [O] or undefined; y: [..., O] in x's dtype. All have one floating dtype, or x is
// bf16 and the parameters are float32: then the product runs in bf16 (with sums in float) and the gradients of the
// parameters come out in float32.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, Activation activation = Activation::none,
              Float32Products products = Float32Products::ieee);
// The product alone.
inline Tensor linear(const Tensor& x, const Tensor& weight, Float32Products products) {
  return linear(x, weight, {}, Activation::none, products);
}

// weight has x's dtype here; bias may be float32 beside bf16, or undefined.
extern Kernel<void(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation,
                   Float32Products products, const Tensor& y)>
    linear_kernel;
// Undefined dx, dweight or dbias are not wanted; x is defined where dweight is wanted, weight where dx is. y is defined
// for relu alone.
struct LinearGradients {
  Tensor dx, dweight, dbias;

  void for_each_tensor(auto&& f) const { f(dx), f(dweight), f(dbias); }
};
extern Kernel<void(const Tensor& x, const Tensor& weight, const Tensor& y, const Tensor& dy, Float32Products products,
                   const LinearGradients& wanted)>
    linear_backward_kernel;

}  // namespace weir
