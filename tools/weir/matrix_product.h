// A matrix product of random values on all threads, to be timed.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/dtype.h"
#include "core/float32_products.h"
#include "core/tensor.h"

namespace weir {

struct ProductSize {
  std::int64_t m, n, k;
  bool a_transposed = false, b_transposed = false;  // in memory

  double flops() const { return 2 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }
};

// [m, k] times [k, n] in float32, as exact as `products` says, or bf16: calls that compute it.
struct MatrixProduct {
  MatrixProduct(const ProductSize& size, DType dtype, Float32Products products);

  std::function<void()> ours;
  std::function<void()> by_library;  // float32 exactly; empty without a library (ops/cpu/library_gemm.h)
  std::vector<Tensor> operands;      // whose memory both read and write
};

}  // namespace weir
