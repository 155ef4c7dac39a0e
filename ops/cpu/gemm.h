// Matrix products on one thread: the piece every dense and grouped product on the CPU is cut into. Row-major.
// The same arguments give the same bits on any number of threads, because callers cut their work by shape alone and
// each piece runs here on exactly one thread.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/tensor.h"

namespace weir::cpu {

// A matrix in memory: element (i, j) is at data[i * stride + j], or at data[j * stride + i] where `transposed`.
template <class T>
struct Matrix {
  const T* data;
  std::int64_t stride;
  bool transposed = false;

  // The matrix that starts at element (row, col).
  Matrix at(std::int64_t row, std::int64_t col) const {
    return {data + (transposed ? col * stride + row : row * stride + col), stride, transposed};
  }
};

enum class GemmMode { overwrite, accumulate };

// c[m, n] = a[m, k] b[k, n], or += with GemmMode::accumulate. In: double, float or bf16; sums of bf16 products are kept
// in float. Out is In, or float for bf16 inputs.
template <class In, class Out>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<In> a, Matrix<In> b, Out* c, std::int64_t c_stride,
          GemmMode mode = GemmMode::overwrite);

// The same product cut into tiles over all threads; with `batch` > 1, for `batch` triples whose starts lie a_step,
// b_step and c_step elements apart.
struct GemmBatch {
  std::int64_t count = 1, a_step = 0, b_step = 0, c_step = 0;
};
template <class In, class Out>
void parallel_gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<In> a, Matrix<In> b, Out* c,
                   std::int64_t c_stride, GemmMode mode = GemmMode::overwrite, GemmBatch batch = {});

// Functions that multiply faster than the plain loop.
struct GemmBackend {
  using F32 = void(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<float> a, Matrix<float> b, float* c,
                   std::int64_t c_stride, GemmMode mode);
  using Bf16 = void(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<weir::bf16> a, Matrix<weir::bf16> b, void* c,
                    DType c_dtype, std::int64_t c_stride, GemmMode mode);

  F32* f32 = nullptr;
  F32* tf32 = nullptr;   // taken where Float32Products::tf32 is asked for
  Bf16* bf16 = nullptr;  // `c` is float or bf16, as c_dtype says
};
// A library's functions, and those of this processor's matrix unit, which go first.
inline constinit GemmBackend library_backend{}, matrix_unit_backend{};

}  // namespace weir::cpu
