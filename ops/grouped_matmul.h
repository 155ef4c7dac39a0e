#pragma once

#include "core/float32_products.h"
#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y[r, :] = x[r, :] weight[e] for the rows offsets[e] <= r < offsets[e + 1] of group e (CVMM with sorted rows).
// x [R, D], weight [E, D, G], offsets [E + 1] int64 from 0 to R, y [R, G]. bf16 rows go with float32 weights too: the
// weights are rounded to bf16 for the product and their gradient is float32.
Tensor grouped_matmul(const Tensor& x, const Tensor& weight, const Tensor& offsets,
                      Float32Products products = Float32Products::ieee);

// y_e = x_e weight[e], or x_e weight[e]ᵀ with `transposed` (then x [R, G], y [R, D]).
extern Kernel<void(const Tensor& x, const Tensor& weight, const Tensor& offsets, bool transposed,
                   Float32Products products, const Tensor& y)>
    grouped_matmul_kernel;
// dweight[e] = x_eᵀ dy_e; x [R, D], dy [R, G], dweight [E, D, G].
extern Kernel<void(const Tensor& x, const Tensor& dy, const Tensor& offsets, Float32Products products,
                   const Tensor& dweight)>
    grouped_matmul_weight_kernel;

}  // namespace weir
