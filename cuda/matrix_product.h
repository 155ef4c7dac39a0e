// Dense matrix products in device memory: cuBLASLt on a GPU, a plain product in its emulator.
#pragma once

#include <cstdint>

#include "core/device.h"
#include "core/dtype.h"
#include "core/float32_products.h"

namespace weir::cuda {

// A matrix in device memory, or several of one shape: element (i, j) of matrix number b is at
// data[b * step + i * stride + j], or at data[b * step + j * stride + i] where `transposed`. Step 0 repeats one matrix.
struct ProductOperand {
  const void* data;
  std::int64_t stride;
  bool transposed = false;
  std::int64_t step = 0;
};

// c = alpha a b + beta c for each of `batch` triples: a [m, k], b [k, n], c [m, n]. All extents are at least 1; rows of
// c do not overlap. With beta = 0, c is written and never read. An epilogue, bias or relu or both, changes the sums
// before they are rounded to c: c = relu(alpha a b + beta c + bias). cuBLASLt's relu makes 0 of NaN.
struct MatrixProduct {
  std::int64_t m, n, k, batch = 1;
  DType in;   // of a and b: float64, float32 or bf16; sums of bf16 products are kept in float
  DType out;  // of c: `in`, or float32 beside bf16
  // How exact float32 products are: tf32 rounds their factors to 10 mantissa bits, to nearest, ties away from zero.
  Float32Products products;
  ProductOperand a, b;
  void* c;
  std::int64_t c_stride, c_step = 0;
  double alpha = 1, beta = 0;
  const void* bias = nullptr;  // [n] of type `out`, in one piece, for every row; null: none
  bool relu = false;
};

// Asks for the product on the device's stream. The same arguments give the same bits on the same kind of device. Throws
// RunError where the library refuses.
void matrix_product(Device device, const MatrixProduct& product);

// Whether the device offers the product with its epilogue. Without one it offers all products of ops.
bool offers_product(Device device, const MatrixProduct& product);

}  // namespace weir::cuda
