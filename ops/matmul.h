#pragma once

#include "core/float32_products.h"
#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y[..., m, n] = sum over k of a[..., m, k] b[..., k, n]. Leading axes broadcast. Both sides have the same floating
// dtype; sums of bf16 products are kept in float. A transposed view of either side is read where it lies.
Tensor matmul(const Tensor& a, const Tensor& b, Float32Products products = Float32Products::ieee);

// a: [..., m, k], b: [..., k, n], views with any strides; y: [..., m, n], fresh.
extern Kernel<void(const Tensor& a, const Tensor& b, Float32Products products, const Tensor& y)> matmul_kernel;

}  // namespace weir
