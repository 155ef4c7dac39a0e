// Neighbouring elements of a row in registers, in the type that sums are kept in: the inner loop of kernels that move
// or add up whole rows. And blocks of threads for such kernels: x goes along a row, y over rows.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/dtype.h"
#include "cuda/pack.cuh"
#include "cuda/runtime.h"

namespace weir::cuda {

template <class Value, int n>
struct RowValues {
  Value at[n];
};

// So many elements at a time fill 16 bytes of the widest type.
template <class... T>
inline constexpr int kRowValues = static_cast<int>(16 / std::max({sizeof(T)...}));

// Elements col .. col + n - 1 of a row of `cols`; those beyond the row are zero. `vectors`: the row begins at a
// multiple of n elements, as does col.
template <int n, class T>
__device__ RowValues<accumulate_t<T>, n> load_values(const T* row, std::int64_t col, std::int64_t cols, bool vectors) {
  RowValues<accumulate_t<T>, n> result;
  if (vectors && col + n <= cols) {
    const auto pack = *reinterpret_cast<const Pack<T, n>*>(row + col);
#pragma unroll
    for (int i = 0; i < n; ++i) result.at[i] = static_cast<accumulate_t<T>>(pack.values[i]);
  } else {
#pragma unroll
    for (int i = 0; i < n; ++i) result.at[i] = col + i < cols ? static_cast<accumulate_t<T>>(row[col + i]) : 0;
  }
  return result;
}

// The reverse: rounds to T, and writes nothing beyond the row.
template <class T, class Value, int n>
__device__ void store_values(T* row, std::int64_t col, std::int64_t cols, bool vectors,
                             const RowValues<Value, n>& values) {
  if (vectors && col + n <= cols) {
    Pack<T, n> pack;
#pragma unroll
    for (int i = 0; i < n; ++i) pack.values[i] = T(values.at[i]);
    *reinterpret_cast<Pack<T, n>*>(row + col) = pack;
  } else {
#pragma unroll
    for (int i = 0; i < n; ++i)
      if (col + i < cols) row[col + i] = T(values.at[i]);
  }
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
