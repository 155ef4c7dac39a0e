// Matrix products on one thread: the piece every dense and grouped product on the CPU is cut into. Row-major.
// The same arguments give the same bits on any number of threads, because each piece runs here on exactly one thread,
// and callers cut their work by shape alone; but for the matrix unit, which gives an element the same bits in every
// cut.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/float32_products.h"
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

// c[m, n] = a[m, k] b[k, n], or += with GemmMode::accumulate. All three of double, or of float; or b of bf16, then a
// and c are both bf16, or c is float and a either: a float a is rounded to bf16. Sums of bf16 products are kept in
// float. `products` counts where b is of float.
template <class Left, class Right, class Out>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<Left> a, Matrix<Right> b, Out* c,
          std::int64_t c_stride, Float32Products products, GemmMode mode = GemmMode::overwrite);

template <class T>
class RightFactor;

// A right factor from some row and column on.
template <class T>
struct RightPart {
  const RightFactor<T>& whole;
  std::int64_t row, col;
};

// The right factor [k, n] of several products, all as exact as `products` says, laid out once where the matrix unit
// will multiply. Keeps b's address.
template <class T>
class RightFactor {
 public:
  RightFactor(std::int64_t k, std::int64_t n, Matrix<T> b, Float32Products products);

  // From there on; both are multiples of 32.
  RightPart<T> at(std::int64_t row, std::int64_t col) const { return {*this, row, col}; }
  const Matrix<T>& matrix() const { return matrix_; }
  const Tensor& packed() const { return packed_; }
  std::int64_t rows() const { return rows_; }
  Float32Products products() const { return products_; }

 private:
  std::int64_t rows_;
  Matrix<T> matrix_;
  Float32Products products_;
  Tensor packed_;  // undefined where nothing is laid out
};

template <class Left, class Right, class Out>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<Left> a, RightPart<Right> b, Out* c,
          std::int64_t c_stride, GemmMode mode = GemmMode::overwrite);

// The same product cut into tiles over all threads; with `batch` > 1, for `batch` triples whose starts lie a_step,
// b_step and c_step elements apart.
struct GemmBatch {
  std::int64_t count = 1, a_step = 0, b_step = 0, c_step = 0;
};
template <class In, class Out>
void parallel_gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<In> a, Matrix<In> b, Out* c,
                   std::int64_t c_stride, Float32Products products, GemmMode mode = GemmMode::overwrite,
                   GemmBatch batch = {});

}  // namespace weir::cpu
