// What gemm.h's products are computed by, where it is there: a library, and the processor's matrix unit. Each fills in
// its functions when the program starts.
#pragma once

#include "ops/cpu/gemm.h"

namespace weir::cpu {

// A library's functions, which multiply faster than the plain loop.
struct GemmLibrary {
  using F32 = void(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<float> a, Matrix<float> b, float* c,
                   std::int64_t c_stride, GemmMode mode);
  using Bf16 = void(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<weir::bf16> a, Matrix<weir::bf16> b, void* c,
                    DType c_dtype, std::int64_t c_stride, GemmMode mode);

  // Readies float32 products of such shapes where that takes memory, which is better done before threads compete for
  // it: throws RunError(out_of_memory). The products do it themselves where nobody has.
  void (*ready_f32)(std::int64_t m, bool a_transposed, bool b_transposed) = nullptr;
  F32* f32 = nullptr;
  Bf16* bf16 = nullptr;  // `c` is float or bf16, as c_dtype says
};
inline constinit GemmLibrary gemm_library{};

// A matrix of float or bf16.
struct AnyMatrix {
  const void* data;
  DType dtype;
  std::int64_t stride;
  bool transposed;
};
// A right factor as the matrix unit's `pack` has laid it out, from some row and column on.
struct PackedPart {
  const bf16* data;
  std::int64_t rows, row, col;  // `rows`: of the whole factor
};

// This processor's matrix unit, which goes first. It multiplies bf16, of which `pieces` make an element. One: `b` is
// bf16, `a` is that or float and is rounded, `c` is either, as c_dtype says. Two, where Float32Products::tf32 is asked
// for: all are float.
struct MatrixUnit {
  using Multiply = void(std::int64_t m, std::int64_t n, std::int64_t k, int pieces, AnyMatrix a, AnyMatrix b, void* c,
                        DType c_dtype, std::int64_t c_stride, GemmMode mode);
  using PackedSize = std::int64_t(std::int64_t k, std::int64_t n, int pieces);
  using Pack = void(std::int64_t k, std::int64_t n, int pieces, AnyMatrix b, bf16* packed);
  using MultiplyPacked = void(std::int64_t m, std::int64_t n, std::int64_t k, int pieces, AnyMatrix a, PackedPart b,
                              void* c, DType c_dtype, std::int64_t c_stride, GemmMode mode);

  Multiply* multiply = nullptr;
  PackedSize* packed_size = nullptr;  // of a right factor, in elements
  Pack* pack = nullptr;
  MultiplyPacked* multiply_packed = nullptr;
};
inline constinit MatrixUnit matrix_unit{};

}  // namespace weir::cpu
