// Sums down the columns of a matrix, in a fixed order and two stages: each block adds up the rows of a chunk, then one
// more launch adds up the chunks' sums.
//
// A block's threads stand in lines: `width` threads side by side hold a pack of columns each, and line k takes rows k,
// k + lines, ... of the chunk. The lines' sums meet in shared memory.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "cuda/pack.cuh"
#include "cuda/runtime.h"

namespace weir::cuda {

inline constexpr int kColumnThreads = 128;
inline constexpr std::int64_t kMaxChunks = 1024;

// Rows that the blocks of a first stage add up: enough to keep the second stage small. A function of the shape alone.
inline std::int64_t rows_per_chunk(std::int64_t rows) {
  return std::max<std::int64_t>(16, (rows + kMaxChunks - 1) / kMaxChunks);
}

// Threads side by side for that many columns, n to a thread: a power of two.
inline int columns_width(std::int64_t cols, int n, int widest) {
  const auto packs = static_cast<std::uint64_t>((cols + n - 1) / n);
  return static_cast<int>(std::min<std::uint64_t>(std::bit_ceil(packs), static_cast<std::uint64_t>(widest)));
}

// out[s * cols + c] = sum over rows begin .. end - 1 of what add(row, col, count, sums) adds to sums[s * n + i], which
// is sum s of column c = col + i, of which `count` are wanted; for the columns first_col .. first_col + width * n - 1.
// Every thread of a block of kColumnThreads must call it.
template <int kSums, int n, class Value, class Out, class AddRow>
__device__ void sum_columns(std::int64_t begin, std::int64_t end, std::int64_t first_col, std::int64_t cols, int width,
                            Out* out, AddRow&& add) {
  struct Shared {
    Value sums[kSums * n][kColumnThreads];
  };
  auto& shared_sums = shared<Shared>().sums;
  const int thread = static_cast<int>(threadIdx.x), lines = kColumnThreads / width;
  const std::int64_t col = first_col + thread % width * n;
  const int count = static_cast<int>(cols - col < n ? cols - col : n);
  Value sums[kSums * n] = {};
  if (count > 0)
    for (std::int64_t row = begin + thread / width; row < end; row += lines) add(row, col, count, sums);
  for (int i = 0; i < kSums * n; ++i) shared_sums[i][thread] = sums[i];
  __syncthreads();
  for (int item = thread; item < kSums * n * width; item += kColumnThreads) {
    const int i = item / width, pack = item % width;
    const std::int64_t column = first_col + pack * n + i % n;
    if (column >= cols) continue;
    Value sum = 0;
    for (int line = 0; line < lines; ++line) sum += shared_sums[i][line * width + pack];
    out[i / n * cols + column] = static_cast<Out>(sum);
  }
  __syncthreads();  // before the next call writes
}

// out[chunk, c] = sum of x[r, c] over the rows of the chunk; out: [chunks, cols], dense. Blocks: chunks x tiles of
// columns.
template <class T, class Out>
__global__ void __launch_bounds__(kColumnThreads)
    column_sums(Rows<T> x, std::int64_t chunk_rows, int width, Out* out, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const std::int64_t tiles = (x.cols + width * n - 1) / (width * n), chunk = blockIdx.x / tiles,
                     begin = chunk * chunk_rows, end = begin + chunk_rows < x.rows ? begin + chunk_rows : x.rows;
  sum_columns<1, n, Value>(begin, end, blockIdx.x % tiles * width * n, x.cols, width, out + chunk * x.cols,
                           [&](std::int64_t row, std::int64_t col, int count, Value* sums) {
                             const auto pack = load_pack<T, n>(x.row(row) + col, 1, count, vectors);
                             for (int i = 0; i < n; ++i) sums[i] += static_cast<Value>(pack.values[i]);
                           });
}

template <class T, class Out>
void launch_column_sums(Device device, const Rows<T>& x, std::int64_t chunk_rows, int widest, Out* out) {
  constexpr int n = kPack<T>;
  const int width = columns_width(x.cols, n, widest);
  const std::int64_t tiles = (x.cols + width * n - 1) / (width * n), chunks = (x.rows + chunk_rows - 1) / chunk_rows;
  launch<column_sums<T, Out>>({blocks_for(chunks * tiles, 1), kColumnThreads}, stream_of(device), x, chunk_rows, width,
                              out, rows_hold_packs(x));
}

// The second stage, or the only one: out[c] = sum over all rows of x[r, c]. Not empty. Narrow tiles: many lines share
// the rows.
template <class T, class Out>
void sum_all_rows(Device device, const Rows<T>& x, Out* out) {
  launch_column_sums(device, x, x.rows, 8, out);
}

}  // namespace weir::cuda
