// Causal attention in bf16 on tensor cores. A block holds 64 rows of one head, a warp 16 of them, and goes through
// tiles of columns, of which the next one is on its way while one is used. Scores and weights stay in registers: what
// one product leaves is the left factor of the next.
#pragma once

#include <cmath>

#include "cuda/attention_tiles.cuh"
#include "cuda/causal_attention_problem.cuh"

namespace weir::cuda::attention {

template <int width>
struct CausalShape {
  static constexpr int kRows = 64, kWarps = kRows / 16, kThreads = kWarps * kWarp;
  static constexpr int kColumns = width <= 64 ? 64 : 32;
  static constexpr std::size_t kForwardBytes = Tile<width>::bytes(kRows + 4 * kColumns);
  static constexpr std::size_t kBackwardBytes =
      Tile<width>::bytes(2 * kRows + 4 * kColumns) + sizeof(float2) * 2 * kColumns;
  static_assert(kBackwardBytes <= std::size_t{99} * 1024, "the least that a block may have from sm_80 on");
};

// --- forward ------------------------------------------------------------------------------------------------------

// Grid (tiles of queries, heads, batches); the last queries, which see most keys, first.
template <int width>
__global__ void __launch_bounds__(CausalShape<width>::kThreads)
    mma_causal_kernel(CausalProblem<bf16> p, HeadMatrices<bf16> out, HeadMatrices<float> logsumexp) {
  using Shape = CausalShape<width>;
  constexpr int kRows = Shape::kRows, kColumns = Shape::kColumns, kThreads = Shape::kThreads;
  constexpr float kLog2e = 1.44269504f;
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kRows;
  const int row = static_cast<int>(threadIdx.x) / kWarp * 16;
  TilePieces pieces{dynamic_shared<unsigned char>()};
  const Tile<width> query = pieces.tile<width>(kRows), key = pieces.tile<width>(2 * kColumns),
                    value = pieces.tile<width>(2 * kColumns);
  const TileSource queries(p.q, batch, head, p.queries, p.width), keys(p.k, batch, head, p.keys, p.width),
      values(p.v, batch, head, p.keys, p.width);
  const auto load_keys = [&](int number) {  // and values
    const int stage = number % 2 * kColumns;
    load_tile<kThreads, kColumns>(key.from_row(stage), keys, number * kColumns);
    load_tile<kThreads, kColumns>(value.from_row(stage), values, number * kColumns);
    commit_copies();
  };

  SoftmaxWarp<width, kColumns> softmax;
  softmax.clear();
  softmax.scale = p.scale * kLog2e;
  softmax.first_query = first + row;
  softmax.memory = p.memory();
  load_tile<kThreads, kRows>(query, queries, first);
  load_keys(0);
  const int tiles = (min(p.keys, first + kRows + p.memory()) + kColumns - 1) / kColumns;
  for (int number = 0; number < tiles; ++number) {
    wait_copies<0>();
    __syncthreads();
    if (number + 1 < tiles) load_keys(number + 1);
    if (number * kColumns > softmax.first_query + 15 + p.memory()) continue;  // none of this warp's queries sees it
    const int stage = number % 2 * kColumns;
    FragmentC scores[kColumns / 8] = {};
#pragma unroll
    for (int e = 0; e < width; e += 16) add_product_by_rows(scores, load_a(query, row, e), key.from_row(stage), 0, e);
    softmax.soften(scores, number * kColumns);
    softmax.add_values(scores, value.from_row(stage));
  }
  softmax.store(out, logsumexp, batch, head, p.queries, p.width);
}

inline void mma_causal_forward(const CausalProblem<bf16>& p, Device device, const HeadMatrices<bf16>& out,
                               const HeadMatrices<float>& logsumexp) {
  with_tile_width(p.width, [&]<int width>(std::integral_constant<int, width>) {
    using Shape = CausalShape<width>;
    const dim3 grid(blocks_for(p.queries, Shape::kRows), static_cast<unsigned>(p.heads),
                    static_cast<unsigned>(p.batches));
    launch<mma_causal_kernel<width>>({grid, Shape::kThreads, Shape::kForwardBytes}, stream_of(device), p, out,
                                     logsumexp);
  });
}

// --- backward -----------------------------------------------------------------------------------------------------

// What a pair takes of its query: the logsumexp times log2(e), and the mean of its dweights.
template <Of of>
__device__ float2 query_numbers(const CausalBackward<bf16, of>& t, int batch, int head, int query) {
  constexpr float kLog2e = 1.44269504f;
  if (query >= t.p.queries) return {0, 0};
  return {*t.logsumexp.row(batch, head, query) * kLog2e, *t.means.row(batch, head, query)};
}

// The gradients of 16 rows of one warp. A lane holds two of them, `group` and `group` + 8.
template <int width, Of of>
struct CausalBackwardWarp {
  static constexpr int kColumns = CausalShape<width>::kColumns;
  static constexpr bool kOfKeys = of == Of::keys;
  using Pairs = FragmentC[kColumns / 8];

  const CausalBackward<bf16, of>& t;
  Tile<width> row, second_row;  // from the warp's first row on
  int first_row, batch, head;
  float2 of_row[2];  // of the lane's rows, where rows are queries
  FragmentC dfirst[width / 8], dsecond[kOfKeys ? width / 8 : 1];

  // `of_column`: of the tile's columns, where columns are queries.
  __device__ void add_tile(const Tile<width>& column, const Tile<width>& second_column, const float2* of_column,
                           int first_column) {
    Pairs scores = {}, dweights = {};
#pragma unroll
    for (int e = 0; e < width; e += 16) {
      add_product_by_rows(scores, load_a(row, 0, e), column, 0, e);
      add_product_by_rows(dweights, load_a(second_row, 0, e), second_column, 0, e);
    }
    differentiate(scores, dweights, of_column, first_column);
#pragma unroll
    for (int step = 0; step < kColumns / 16; ++step) {
      add_product(dfirst, rounded_pieces(scores[2 * step], scores[2 * step + 1]), column, 16 * step, 0);
      if constexpr (kOfKeys)
        add_product(dsecond, rounded_pieces(dweights[2 * step], dweights[2 * step + 1]), second_column, 16 * step, 0);
    }
  }

  // Scores become their gradients, gradients of weights become the weights; zeros where there is no pair.
  __device__ void differentiate(Pairs& scores, Pairs& dweights, const float2* of_column, int first_column) const {
    constexpr float kLog2e = 1.44269504f;
    const int group = lane_id() / 4, pair = lane_id() % 4 * 2;
    const float scale = t.p.scale;
#pragma unroll
    for (int i = 0; i < kColumns / 8; ++i)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int column = 8 * i + pair + r % 2;
        const bool seen = t.is_pair(first_row + group + r / 2 * 8, first_column + column);
        const float2 numbers = kOfKeys ? of_column[column] : of_row[r / 2];
        const float weight = seen ? std::exp2(scores[i].r[r] * (scale * kLog2e) - numbers.x) : 0;
        scores[i].r[r] = seen ? weight * (dweights[i].r[r] - numbers.y) * scale : 0;
        dweights[i].r[r] = weight;
      }
  }

  template <int n>
  __device__ void store(const FragmentC (&sums)[n], const HeadMatrices<bf16>& to) const {
    const int pair = lane_id() % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = first_row + lane_id() / 4 + 8 * half;
      if (i >= t.rows()) continue;
#pragma unroll
      for (int piece = 0; piece < n; ++piece)
        store_pair(to.row(batch, head, i), 8 * piece + pair, t.p.width, sums[piece].r[2 * half],
                   sums[piece].r[2 * half + 1]);
    }
  }
};

// Grid (tiles of rows, heads, batches); the rows with most pairs first: the last queries, the first keys.
template <int width, Of of>
__global__ void __launch_bounds__(CausalShape<width>::kThreads) mma_causal_backward_kernel(CausalBackward<bf16, of> t) {
  using Shape = CausalShape<width>;
  constexpr bool kOfKeys = of == Of::keys;
  constexpr int kRows = Shape::kRows, kColumns = Shape::kColumns, kThreads = Shape::kThreads;
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z),
            thread = static_cast<int>(threadIdx.x);
  const int first = static_cast<int>(kOfKeys ? blockIdx.x : gridDim.x - 1 - blockIdx.x) * kRows;
  const int local = thread / kWarp * 16;
  TilePieces pieces{dynamic_shared<unsigned char>()};
  const Tile<width> row = pieces.tile<width>(kRows), second_row = pieces.tile<width>(kRows),
                    column = pieces.tile<width>(2 * kColumns), second_column = pieces.tile<width>(2 * kColumns);
  auto* const of_columns = reinterpret_cast<float2*>(pieces.next);  // [2, kColumns]
  const TileSource columns(t.first_columns(), batch, head, t.columns(), t.p.width),
      second_columns(t.second_columns(), batch, head, t.columns(), t.p.width);
  const auto load_columns = [&](int number) {
    const int stage = number % 2 * kColumns;
    load_tile<kThreads, kColumns>(column.from_row(stage), columns, number * kColumns);
    load_tile<kThreads, kColumns>(second_column.from_row(stage), second_columns, number * kColumns);
    if (kOfKeys && thread < kColumns)
      of_columns[stage + thread] = query_numbers(t, batch, head, number * kColumns + thread);
    commit_copies();
  };

  CausalBackwardWarp<width, of> work{
      t, row.from_row(local), second_row.from_row(local), first + local, batch, head, {}, {}, {}};
  for (int half = 0; half < 2 && !kOfKeys; ++half)
    work.of_row[half] = query_numbers(t, batch, head, work.first_row + lane_id() / 4 + 8 * half);
  load_tile<kThreads, kRows>(row, {t.first_rows(), batch, head, t.rows(), t.p.width}, first);
  load_tile<kThreads, kRows>(second_row, {t.second_rows(), batch, head, t.rows(), t.p.width}, first);
  const int begin = t.begin(first) / kColumns, end = (t.end(first, kRows) + kColumns - 1) / kColumns;
  load_columns(begin);
  for (int number = begin; number < end; ++number) {
    wait_copies<0>();
    __syncthreads();
    if (number + 1 < end) load_columns(number + 1);
    const int stage = number % 2 * kColumns, first_column = number * kColumns;
    if (first_column < t.begin(work.first_row) / kColumns * kColumns || first_column >= t.end(work.first_row, 16))
      continue;  // no pair of this warp
    work.add_tile(column.from_row(stage), second_column.from_row(stage), of_columns + stage, first_column);
  }
  work.store(work.dfirst, t.dfirst);
  if constexpr (kOfKeys) work.store(work.dsecond, t.dsecond);
}

template <Of of>
void mma_causal_backward(const CausalBackward<bf16, of>& t, Device device) {
  with_tile_width(t.p.width, [&]<int width>(std::integral_constant<int, width>) {
    using Shape = CausalShape<width>;
    const dim3 grid(blocks_for(t.rows(), Shape::kRows), static_cast<unsigned>(t.p.heads),
                    static_cast<unsigned>(t.p.batches));
    launch<mma_causal_backward_kernel<width, of>>({grid, Shape::kThreads, Shape::kBackwardBytes}, stream_of(device), t);
  });
}

}  // namespace weir::cuda::attention
