// A whole matrix product by a library on threads of its own: what benchmarks compare with and take as the rate at which
// a machine can multiply. Training does not use it, since its bits depend on the number of threads.
#pragma once

#include <cstdint>
#include <functional>

#include "ops/cpu/gemm.h"

namespace weir::cpu {

// Entries are null where the build has no such library.
struct LibraryGemm {
  const char* name = nullptr;
  // Calls of c[m, n] = a[m, k] b[k, n] on `threads` threads, all on the thread that asks; empty where this processor
  // has no products of that type. A strided c has rows c_stride elements apart.
  std::function<void()> (*f32)(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<float> a, Matrix<float> b,
                               float* c, std::int64_t c_stride, int threads) = nullptr;
  std::function<void()> (*bf16)(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<weir::bf16> a,
                                Matrix<weir::bf16> b, weir::bf16* c, std::int64_t c_stride, int threads) = nullptr;
  // Ends the library's threads, which after a call keep a processor each busy for some milliseconds, waiting for
  // another.
  void (*end_threads)() = nullptr;
};
inline constinit LibraryGemm library_gemm{};

}  // namespace weir::cpu
