// Tensor cores: products of small matrices by a warp, c += a b, and loads of their operands from shared memory.
//
// All 32 lanes call together. Lane L holds what follows, with g = L / 4 and t = L % 4; of two 16-bit elements in one
// register, the first is the lower half. Matrices are written (row, column).
//
//            FragmentA, 16 x k             FragmentB, k x 8            FragmentC, 16 x 8
//   k = 16   r[0]: (g, 2t), (g, 2t+1)      r[0]: (2t, g), (2t+1, g)    r[0]: (g, 2t)
//   16 bits  r[1]: (g+8, 2t), (g+8, 2t+1)  r[1]: (2t+8, g), (2t+9, g)  r[1]: (g, 2t+1)
//            r[2]: (g, 2t+8), (g, 2t+9)                                r[2]: (g+8, 2t)
//            r[3]: (g+8, 2t+8), (g+8, 2t+9)                            r[3]: (g+8, 2t+1)
//   k = 8    r[0]: (g, t)                  r[0]: (t, g)                the same
//   tf32     r[1]: (g+8, t)                r[1]: (t+4, g)
//            r[2]: (g, t+4)
//            r[3]: (g+8, t+4)
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/dtype.h"

namespace weir::cuda {

struct FragmentA {
  std::uint32_t r[4];
};
struct FragmentB {
  std::uint32_t r[2];
};
struct FragmentC {
  float r[4];
};

template <class T>
concept TensorCoreElement = std::is_same_v<T, bf16> || std::is_same_v<T, fp16>;

// Two 16-bit elements as a fragment's register.
template <TensorCoreElement T>
constexpr std::uint32_t pack(T first, T second) {
  return first.bits | static_cast<std::uint32_t>(second.bits) << 16;
}

// What both sides offer:
//
//   mma_m16n8k16<T>(c, a, b)   c += a b with T = bf16 or fp16, sums in float
//   mma_m16n8k8(c, a, b)       the same with tf32: floats of 10 mantissa bits, made by to_tf32
//   to_tf32(value)             rounds to nearest, ties away from zero
//   ldmatrix_x4(row)           four 8 x 8 matrices of 16-bit elements from shared memory: lanes 8i .. 8i+7 bring the
//                              places of the rows of matrix i, 16 bytes each; r[i] is (g, 2t), (g, 2t+1) of matrix i.
//                              So matrices (top left, bottom left, top right, bottom right) make a FragmentA.
//   ldmatrix_x4_trans(row)     the same transposed: r[i] is (2t, g), (2t+1, g) of matrix i. So the two halves of a
//                              k x 8 operand stored by rows make a FragmentB.
//   ldmatrix_x2(row), ldmatrix_x2_trans(row)   two matrices, whose rows lanes 0 .. 15 bring

}  // namespace weir::cuda

#if defined(__CUDACC__)
#include "cuda/toolkit_tensor_core.h"
#else
#include "cuda/emulator/tensor_core.h"
#endif
