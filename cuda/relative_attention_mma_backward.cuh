// Relative attention in bf16 on tensor cores, backward: one block per owner (see Owners), which goes through the tiles
// of its heads, keys outside and queries inside.
//
// Of a tile [n queries x n keys] a warp makes the scores of 16 queries and half the keys. Weights and score gradients
// go to shared memory, the latter twice: by key, and moved along the diagonals to where their position's column is.
// Then each warp adds to its own 16 rows, or half of them:
//
//   dvalue += weights^T dout     dk += dscores^T (q + u)     dr += dband^T (q + v)     dq = dscores k + dband r
//
// dk and dvalue stay in registers for all queries of a tile of keys. So does dr: with blocks of n rows of r numbered by
// the tile of queries whose first n positions they are, tile number i takes the blocks i and i - 1. Half the warps hold
// the even blocks, half the odd ones; block i - 1 is complete after tile i. dq is added to in scratch memory, in the
// order in which the lanes hold it.
#pragma once

#include <cmath>

#include "cuda/relative_attention_tiles.cuh"

namespace weir::cuda::attention {

template <int width>
struct BackwardShape {
  static constexpr int kTile = width <= 64 ? 64 : 32, kHalf = kTile / 2, kStrips = kTile / 16;
  static constexpr int kWarps = 2 * kStrips, kThreads = kWarps * kWarp;
  static constexpr int kSplit = width / 16;  // pieces of 8 columns in half the width
  using Pairs = Tile<kTile>;
  // Row 16 s + i of the band holds positions from column kTile - 16 - 16 s of the whole band on: all that strip s
  // takes.
  using Band = Tile<kTile + 16>;

  static constexpr std::size_t kOperands = Tile<width>::bytes(7 * kTile);
  static constexpr std::size_t kScratch = sizeof(float) * kWarps * BandScratch<kHalf>::kFloats;
  static constexpr std::size_t kGradients = Pairs::bytes(2 * kTile) + Band::bytes(kTile);
  static constexpr std::size_t kSums = sizeof(float) * kStrips * width;
  static constexpr std::size_t kBytes = kOperands + kSums + (kScratch > kGradients ? kScratch : kGradients);
  static_assert(kBytes <= std::size_t{99} * 1024, "the least that a block may have from sm_80 on");

  // One float per element of dq, tiles filled up.
  __host__ __device__ static std::int64_t dq_floats(int queries) {
    return std::int64_t{(queries + kTile - 1) / kTile * kTile} * width;
  }
};

// The block's tiles. The position scores' scratch lies where weights, dscores and dband do.
template <int width>
struct BackwardTiles {
  using Shape = BackwardShape<width>;
  Tile<width> key, value, content, position, dout, r;  // r: two blocks, number i at i % 2
  typename Shape::Pairs weights, dscores;
  typename Shape::Band dband;
  float *dq_sums, *scratch;  // dq_sums [strips, width]: over the rows of dq that are complete

  __device__ explicit BackwardTiles(TilePieces pieces)
      : key(pieces.tile<width>(Shape::kTile)),
        value(pieces.tile<width>(Shape::kTile)),
        content(pieces.tile<width>(Shape::kTile)),
        position(pieces.tile<width>(Shape::kTile)),
        dout(pieces.tile<width>(Shape::kTile)),
        r(pieces.tile<width>(2 * Shape::kTile)),
        dq_sums(reinterpret_cast<float*>(pieces.next)) {
    pieces.next += Shape::kSums;
    scratch = reinterpret_cast<float*>(pieces.next);
    weights = pieces.tile<Shape::kTile>(Shape::kTile);
    dscores = pieces.tile<Shape::kTile>(Shape::kTile);
    dband = pieces.tile<Shape::kTile + 16>(Shape::kTile);
  }

  // The rows of r from column `c` of the band on in the tile of queries `number`; 16 of them lie together.
  __device__ Tile<width> band_rows(int number, int c) const {
    return r.from_row((number + c / Shape::kTile) % 2 * Shape::kTile + c % Shape::kTile);
  }
};

// One warp's part in an owner's work. `strip` and `half` say which 16 rows and which half of the columns of a matrix
// are this warp's.
template <int width>
struct BackwardWarp {
  using Shape = BackwardShape<width>;
  static constexpr int n = Shape::kTile, kHalf = Shape::kHalf, kSteps = width / 16, kSplit = Shape::kSplit;

  const Problem<bf16>& p;
  const BackwardTensors<bf16>& t;
  BackwardTiles<width> tiles;
  PartialSums<bf16> partial;
  float4* dq_partial;
  int head, warp, strip, half;
  FragmentC dk[kSplit], dvalue[kSplit], dr[2 * kSplit];
  float dv[kSplit][2], dscale;

  // --- loads

  __device__ void load_keys(int batch, int first_key) const {
    load_tile<Shape::kThreads, n>(tiles.key, {p.k, batch, head, p.keys, p.width}, first_key);
    load_tile<Shape::kThreads, n>(tiles.value, {p.value, batch, head, p.keys, p.width}, first_key);
  }
  // The first row of r in block `number`.
  __device__ int block_row(int number, int first_key) const { return p.queries - n - number * n + first_key; }

  __device__ void load_block(int number, int first_key) const {
    load_tile<Shape::kThreads, n>(tiles.r.from_row((number + 2) % 2 * n), {p.r, 0, head, p.keys, p.width},
                                  block_row(number, first_key));
  }
  __device__ void load_queries(int batch, int number) const {
    load_tile<Shape::kThreads, n>(tiles.dout, {t.dout, batch, head, p.queries, p.width}, number * n);
    load_query_tiles<Shape::kThreads, n>(tiles.content, tiles.position, p, batch, head, number * n);
  }

  // --- pairs: the softmax and the gradient of the raw scores of 16 queries and half the tile's keys

  __device__ void make_pairs(int batch, int number, int first_key) {
    FragmentC scores[kHalf / 8], dweights[kHalf / 8] = {};
    const BandScratch<kHalf> scratch{tiles.scratch + warp * BandScratch<kHalf>::kFloats};
#pragma unroll
    for (int column = 0; column < BandScratch<kHalf>::kColumns; column += 16) {
      const Tile<width> rows = tiles.band_rows(number, n - 16 - 16 * strip + kHalf * half + column);
      FragmentC products[2] = {};
#pragma unroll
      for (int step = 0; step < kSteps; ++step)
        add_product_by_rows(products, load_a(tiles.position, 16 * strip, 16 * step), rows, 0, 16 * step);
      scratch.store(products, column);
    }
    __syncwarp();
    scratch.load(scores);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      add_product_by_rows(scores, load_a(tiles.content, 16 * strip, 16 * step), tiles.key, kHalf * half, 16 * step);
      add_product_by_rows(dweights, load_a(tiles.dout, 16 * strip, 16 * step), tiles.value, kHalf * half, 16 * step);
    }
    differentiate(scores, dweights, batch, number * n + 16 * strip, first_key + kHalf * half);
    __syncthreads();  // all have read their scores: their place is free
    store_pairs(scores, dweights);
  }

  // Scores become their gradients, gradients of weights become the weights.
  __device__ void differentiate(FragmentC (&scores)[kHalf / 8], FragmentC (&dweights)[kHalf / 8], int batch,
                                int first_query, int first_key) {
    constexpr float kLog2e = 1.44269504f;
    const int pair = lane_id() % 4 * 2;
    const float scale = *p.scale;
#pragma unroll
    for (int lower = 0; lower < 2; ++lower) {
      const int query = first_query + lane_id() / 4 + 8 * lower;
      const bool inside = query < p.queries;
      const float log_sum = inside ? *t.logsumexp.row(batch, head, query) * kLog2e : 0;
      const float mean = inside ? *t.means.row(batch, head, query) : 0;
      const int visible = inside ? query + p.memory() - first_key : -1;  // the last key that the query sees
#pragma unroll
      for (int i = 0; i < kHalf / 8; ++i)
#pragma unroll
        for (int r = 2 * lower; r < 2 * lower + 2; ++r) {
          const float score = scores[i].r[r];
          const bool seen = 8 * i + pair + r % 2 <= visible;
          const float weight = seen ? std::exp2(score * (scale * kLog2e) - log_sum) : 0;
          const float dlogit = seen ? weight * (dweights[i].r[r] - mean) : 0;
          dscale += dlogit * score;
          dweights[i].r[r] = weight;
          scores[i].r[r] = dlogit * scale;
        }
    }
  }

  __device__ void store_pairs(const FragmentC (&dscores)[kHalf / 8], const FragmentC (&weights)[kHalf / 8]) const {
    const int group = lane_id() / 4, pair = lane_id() % 4 * 2;
#pragma unroll
    for (int i = 0; i < kHalf / 8; ++i)
#pragma unroll
      for (int lower = 0; lower < 2; ++lower) {
        const int local = group + 8 * lower, row = 16 * strip + local, column = kHalf * half + 8 * i + pair;
        const bf16 a(dscores[i].r[2 * lower]), b(dscores[i].r[2 * lower + 1]);
        *reinterpret_cast<std::uint32_t*>(tiles.dscores.row(row) + column) = pack(a, b);
        *reinterpret_cast<std::uint32_t*>(tiles.weights.row(row) + column) =
            pack_floats(weights[i].r[2 * lower], weights[i].r[2 * lower + 1]);
        bf16* const place = tiles.dband.row(row) + column - local + 15;
        place[0] = a;
        place[1] = b;
      }
    // Row i of a strip has n positions from column 15 - i on; zeros before and behind. Each half clears eight rows.
    for (int item = lane_id(); item < 8 * 16; item += kWarp) {
      const int local = 8 * half + item / 16, zero = item % 16;
      tiles.dband.row(16 * strip + local)[zero < 15 - local ? zero : zero + n] = bf16();
    }
  }

  // --- products

  __device__ void add_key_gradients() {
#pragma unroll
    for (int step = 0; step < n / 16; ++step) {
      add_product(dvalue, load_a_transposed(tiles.weights, 16 * step, 16 * strip), tiles.dout, 16 * step,
                  8 * kSplit * half);
      add_product(dk, load_a_transposed(tiles.dscores, 16 * step, 16 * strip), tiles.content, 16 * step,
                  8 * kSplit * half);
    }
  }

  // Warps of half h hold the blocks of numbers 2 i + h, each warp 16 rows. These are columns c .. c + 15 of the band,
  // which strip s of the queries has from column n - 16 - 16 s on, n + 16 of them.
  __device__ void add_position_gradients(int number, int first_key) {
    const bool complete = (number & 1) != half;  // block number - 1, the band's second one
    const int c = 16 * strip + (complete ? n : 0);
    for (int queries = 0; queries < Shape::kStrips; ++queries) {
      const int column = c - (n - 16 - 16 * queries);
      if (column >= 0 && column < n + 16)
        add_product(dr, load_a_transposed(tiles.dband, 16 * queries, column), tiles.position, 16 * queries, 0);
    }
    if (complete) flush_position_gradients(number - 1, first_key);
  }

  __device__ void flush_position_gradients(int number, int first_key) {
    const int pair = lane_id() % 4 * 2;
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int row = block_row(number, first_key) + 16 * strip + lane_id() / 4 + r / 2 * 8;
#pragma unroll
      for (int i = 0; i < 2 * kSplit; ++i) {
        const int e = 8 * i + pair + r % 2;
        if (row >= 0 && row < p.keys && e < p.width) partial.dr[std::int64_t{row} * p.width + e] += dr[i].r[r];
        dr[i].r[r] = 0;
      }
    }
  }

  __device__ void add_query_gradients(int batch, int number, int first_key) {
    FragmentC sums[kSplit] = {};
    const int column = 8 * kSplit * half;
#pragma unroll
    for (int step = 0; step < n / 16 + 1; ++step)
      add_product(sums, load_a(tiles.dband, 16 * strip, 16 * step),
                  tiles.band_rows(number, n - 16 - 16 * strip + 16 * step), 0, column);
#pragma unroll
    for (int i = 0; i < kSplit; ++i)
#pragma unroll
      for (int r = 0; r < 4; ++r) dv[i][r % 2] += sums[i].r[r];
#pragma unroll
    for (int step = 0; step < n / 16; ++step)
      add_product(sums, load_a(tiles.dscores, 16 * strip, 16 * step), tiles.key, 16 * step, column);
    const bool last = first_key + n >= min(p.keys, number * n + n + p.memory());
    float4* const place = dq_partial + ((number * Shape::kWarps + warp) * kSplit) * kWarp + lane_id();
#pragma unroll
    for (int i = 0; i < kSplit; ++i) {
      float4 sum{sums[i].r[0], sums[i].r[1], sums[i].r[2], sums[i].r[3]};
      if (first_key > 0) {
        const float4 before = place[i * kWarp];
        sum = {before.x + sum.x, before.y + sum.y, before.z + sum.z, before.w + sum.w};
      }
      if (last) {
        store_rows(t.dq, batch, number * n, p.queries, i, sum);
        add_column(tiles.dq_sums, i, 0, sum.x + sum.z);
        add_column(tiles.dq_sums, i, 1, sum.y + sum.w);
      } else {
        place[i * kWarp] = sum;
      }
    }
  }

  // This lane's part of piece i of 8 columns in a matrix's 16 x half rows.
  __device__ void store_rows(const HeadMatrices<bf16>& matrix, int batch, int first, int rows, int i,
                             const float4& values) const {
    const int row = first + 16 * strip + lane_id() / 4, e = 8 * (kSplit * half + i) + lane_id() % 4 * 2;
    if (row < rows) store_pair(matrix.row(batch, head, row), e, p.width, values.x, values.y);
    if (row + 8 < rows) store_pair(matrix.row(batch, head, row + 8), e, p.width, values.z, values.w);
  }
  __device__ void store_key_gradients(int batch, int first_key) {
#pragma unroll
    for (int i = 0; i < kSplit; ++i) {
      store_rows(t.dk, batch, first_key, p.keys, i, {dk[i].r[0], dk[i].r[1], dk[i].r[2], dk[i].r[3]});
      store_rows(t.dvalue, batch, first_key, p.keys, i,
                 {dvalue[i].r[0], dvalue[i].r[1], dvalue[i].r[2], dvalue[i].r[3]});
      dk[i] = dvalue[i] = {};
    }
  }

  // --- the owner's work

  __device__ void run_batch(int batch) {
    const int query_tiles = (p.queries + n - 1) / n;
    for (int first_key = 0; first_key < p.keys; first_key += n) {
      const int begin = max(0, first_key - p.memory()) / n;
      for (int number = begin; number < query_tiles; ++number) {
        __syncthreads();  // all are done with the tiles before
        if (number == begin) {
          load_keys(batch, first_key);
          load_block(number - 1, first_key);
        }
        load_block(number, first_key);
        load_queries(batch, number);
        commit_copies();
        wait_copies<0>();
        __syncthreads();
        make_pairs(batch, number, first_key);
        __syncthreads();
        add_key_gradients();
        add_position_gradients(number, first_key);
        add_query_gradients(batch, number, first_key);
      }
      if (((query_tiles - 1) & 1) == half) flush_position_gradients(query_tiles - 1, first_key);
      store_key_gradients(batch, first_key);
    }
  }

  __device__ void clear() const {
    for (std::int64_t item = threadIdx.x; item < std::int64_t{p.keys} * p.width; item += Shape::kThreads)
      partial.dr[item] = 0;
    for (int item = static_cast<int>(threadIdx.x); item < Shape::kStrips * width; item += Shape::kThreads)
      tiles.dq_sums[item] = 0;
  }

  // sums [strips, width]: adds over the lanes that hold the same column, which is piece i's number pair + r.
  __device__ void add_column(float* sums, int i, int r, float value) const {
    for (int step = 4; step < kWarp; step *= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    if (lane_id() < 4) sums[strip * width + 8 * (kSplit * half + i) + lane_id() * 2 + r] += value;
  }

  // The sum of all dq is du + dv.
  __device__ void store_sums() const {
    float *const dv_sums = tiles.scratch, *const dscales = dv_sums + Shape::kStrips * width;
    for (int item = static_cast<int>(threadIdx.x); item < Shape::kStrips * width; item += Shape::kThreads)
      dv_sums[item] = 0;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kSplit; ++i)
      for (int r = 0; r < 2; ++r) add_column(dv_sums, i, r, dv[i][r]);
    const float total = reduce_lanes<kWarp>(0xffffffffu, dscale, Add{});
    if (lane_id() == 0) dscales[warp] = total;
    __syncthreads();
    for (int e = static_cast<int>(threadIdx.x); e < p.width; e += Shape::kThreads) {
      float both = 0, position = 0;
      for (int s = 0; s < Shape::kStrips; ++s) {
        both += tiles.dq_sums[s * width + e];
        position += dv_sums[s * width + e];
      }
      partial.du[e] = both - position;
      partial.dv[e] = position;
    }
    if (threadIdx.x != 0) return;
    float sum = 0;
    for (int w = 0; w < Shape::kWarps; ++w) sum += dscales[w];
    *partial.dscale = sum;
  }
};

// Grid (heads, groups of batches).
template <int width>
__global__ void __launch_bounds__(BackwardShape<width>::kThreads)
    mma_backward_kernel(Problem<bf16> p, BackwardTensors<bf16> t, float* dq_partial, int batches_each) {
  using Shape = BackwardShape<width>;
  const int head = static_cast<int>(blockIdx.x), group = static_cast<int>(blockIdx.y);
  const int owner = group * p.heads + head, warp = static_cast<int>(threadIdx.x) / kWarp;
  BackwardWarp<width> work{p,
                           t,
                           BackwardTiles<width>({dynamic_shared<unsigned char>()}),
                           PartialSums<bf16>(p, t.partial, owner),
                           reinterpret_cast<float4*>(dq_partial + owner * Shape::dq_floats(p.queries)),
                           head,
                           warp,
                           warp % Shape::kStrips,
                           warp / Shape::kStrips,
                           {},
                           {},
                           {},
                           {},
                           0};
  work.clear();
  const int begin = group * batches_each;
  for (int batch = begin; batch < min(p.batches, begin + batches_each); ++batch) work.run_batch(batch);
  __syncthreads();
  work.store_sums();
}

inline void mma_backward(const Problem<bf16>& p, Device device, const Owners& owners, const BackwardTensors<bf16>& t) {
  with_tile_width(p.width, [&]<int width>(std::integral_constant<int, width>) {
    using Shape = BackwardShape<width>;
    const dim3 grid(static_cast<unsigned>(p.heads), static_cast<unsigned>(owners.groups));
    const Tensor dq_partial =
        Tensor::empty(weir::Shape{owners.count * Shape::dq_floats(p.queries)}, DType::float32, device);
    launch<mma_backward_kernel<width>>({grid, Shape::kThreads, Shape::kBytes}, stream_of(device), p, t,
                                       dq_partial.data<float>(), owners.batches_each);
  });
}

}  // namespace weir::cuda::attention
