// Neighbouring elements of a row in registers: the inner loop of kernels that move or add up whole rows. And blocks of
// threads for such kernels: x goes along a row, y over rows.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/dtype.h"
#include "cuda/pack.cuh"
#include "cuda/runtime.h"

namespace weir::cuda {

// So many elements at a time fill 16 bytes of the widest type.
template <class... T>
inline constexpr int kRowValues = static_cast<int>(16 / std::max({sizeof(T)...}));

// Elements col .. col + n - 1 of a row of `cols`; those beyond the row are zero. `vectors`: the row begins at a
// multiple of n elements, as does col.
template <int n, class T>
__device__ Pack<T, n> load_values(const T* row, std::int64_t col, std::int64_t cols, bool vectors) {
  return load_pack<T, n>(row + col, 1, static_cast<int>(cols - col < n ? cols - col : n), vectors);
}

// The reverse: rounds to T, and writes nothing beyond the row.
template <class T, class Value, int n>
__device__ void store_values(T* row, std::int64_t col, std::int64_t cols, bool vectors, const Pack<Value, n>& values) {
  Pack<T, n> rounded;
#pragma unroll
  for (int i = 0; i < n; ++i) rounded.values[i] = T(static_cast<accumulate_t<Value>>(values.values[i]));
  store_pack(row + col, 1, static_cast<int>(cols - col < n ? cols - col : n), vectors, rounded);
}

inline constexpr int kRowBlockThreads = 256;

// Blocks whose threads (x, y) take n elements at x * n, (x + blockDim.x) * n, ... of rows y, y + blockDim.y *
// gridDim.x.
inline LaunchShape row_blocks(std::int64_t rows, std::int64_t cols, int n) {
  const std::int64_t packs = std::clamp<std::int64_t>((cols + n - 1) / n, 1, kRowBlockThreads);
  const unsigned x = std::bit_ceil(static_cast<unsigned>(packs)), y = kRowBlockThreads / x;
  return {blocks_for(rows, y), dim3(x, y)};
}

}  // namespace weir::cuda
