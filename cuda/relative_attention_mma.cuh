// Relative attention in bf16 on tensor cores, forward: a block makes 64 queries of one head, a warp 16 of them, and
// goes through the keys tile by tile with an online softmax. Scores and weights stay in registers; only the position
// scores pass through shared memory, to be read along the diagonals.
//
// With blocks of `keys` rows of r counted from row T - 64 - (first query) on, the tile of keys number n takes the
// blocks n .. n + 64 / keys; the next tile takes one more and leaves one. So r lies in a ring of blocks, one more than
// a tile needs: while a tile is made, the next one's block, keys and values are on their way.
#pragma once

#include <cmath>

#include "cuda/relative_attention_tiles.cuh"

namespace weir::cuda::attention {

template <int width>
struct ForwardShape {
  static constexpr int kQueries = 64, kWarps = kQueries / 16, kThreads = kWarps * kWarp;
  static constexpr int kKeys = width <= 64 ? 64 : 32;
  static constexpr int kBandBlocks = kQueries / kKeys + 1, kRing = kBandBlocks + 1;
  static_assert(kRing * kKeys >= 2 * kQueries, "the queries' two tiles pass through the ring");
  static constexpr std::size_t kBytes = Tile<width>::bytes((4 + kRing) * kKeys) +
                                        sizeof(float) * static_cast<std::size_t>(kWarps * BandScratch<kKeys>::kFloats);
};

// 16 queries of one warp. A lane holds two of them, `group` and `group` + 8, every value of theirs twice: [2].
template <int width>
struct ForwardWarp {
  using Shape = ForwardShape<width>;
  static constexpr int kKeys = Shape::kKeys, kSteps = width / 16;

  FragmentA content[kSteps], position[kSteps];  // q + u, q + v
  FragmentC sums[width / 8];                    // of weight * value
  float largest[2], total[2];                   // of the logits times log2(e); of this lane's weights
  float scale;                                  // times log2(e)
  int first_query, memory;
  BandScratch<kKeys> scratch;

  __device__ void load(const Tile<width>& with_u, const Tile<width>& with_v, int row) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      content[step] = load_a(with_u, row, 16 * step);
      position[step] = load_a(with_v, row, 16 * step);
    }
    for (FragmentC& sum : sums) sum = {};
    for (int half = 0; half < 2; ++half) {
      largest[half] = -INFINITY;
      total[half] = 0;
    }
  }

  // first_column: of this warp in the band.
  __device__ void add_tile(const Tile<width>& key, const Tile<width>& value, const Tile<width>& ring, int number,
                           int first_column) {
    FragmentC scores[kKeys / 8];
#pragma unroll
    for (int column = 0; column < BandScratch<kKeys>::kColumns; column += 16) {
      const int c = first_column + column, block = (number + c / kKeys) % Shape::kRing;
      FragmentC products[2] = {};
#pragma unroll
      for (int step = 0; step < kSteps; ++step)
        add_product_by_rows(products, position[step], ring, block * kKeys + c % kKeys, 16 * step);
      scratch.store(products, column);
    }
    __syncwarp();
    scratch.load(scores);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) add_product_by_rows(scores, content[step], key, 0, 16 * step);
    soften(scores, number * kKeys);
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) {
      const FragmentC &left = scores[2 * step], &right = scores[2 * step + 1];
      const FragmentA weights{{pack_floats(left.r[0], left.r[1]), pack_floats(left.r[2], left.r[3]),
                               pack_floats(right.r[0], right.r[1]), pack_floats(right.r[2], right.r[3])}};
      add_product(sums, weights, value, 16 * step, 0);
    }
  }

  // Scores become exp(logit - largest). Every query sees key 0, so `largest` is finite from the first tile on.
  __device__ void soften(FragmentC (&scores)[kKeys / 8], int first_key) {
    const int group = lane_id() / 4, pair = lane_id() % 4 * 2;
    const bool masked = first_key + kKeys - 1 > first_query + memory;  // some key for some query
    float top[2] = {largest[0], largest[1]};
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        float& score = scores[n].r[r];
        score *= scale;
        if (masked && first_key + 8 * n + pair + r % 2 > first_query + group + r / 2 * 8 + memory) score = -INFINITY;
        top[r / 2] = max(top[r / 2], score);
      }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      top[half] = reduce_lanes<4>(0xffffffffu, top[half], Larger{});
      const float shrink = std::exp2(largest[half] - top[half]);
      largest[half] = top[half];
      total[half] *= shrink;
#pragma unroll
      for (FragmentC& sum : sums) {
        sum.r[2 * half] *= shrink;
        sum.r[2 * half + 1] *= shrink;
      }
#pragma unroll
      for (FragmentC& score : scores)
#pragma unroll
        for (int r = 2 * half; r < 2 * half + 2; ++r) {
          score.r[r] = std::exp2(score.r[r] - top[half]);
          total[half] += score.r[r];
        }
    }
  }

  __device__ void store(const Problem<bf16>& p, const HeadMatrices<bf16>& out, const HeadMatrices<float>& logsumexp,
                        int batch, int head) const {
    constexpr float kLog2 = 0.69314718f;
    const int pair = lane_id() % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = first_query + lane_id() / 4 + half * 8;
      const float all = reduce_lanes<4>(0xffffffffu, total[half], Add{}), factor = 1 / all;
      if (query >= p.queries) continue;
      bf16* const row = out.row(batch, head, query);
#pragma unroll
      for (int n = 0; n < width / 8; ++n)
        store_pair(row, 8 * n + pair, p.width, sums[n].r[2 * half] * factor, sums[n].r[2 * half + 1] * factor);
      if (pair == 0) *logsumexp.row(batch, head, query) = largest[half] * kLog2 + std::log(all);
    }
  }
};

// Grid (tiles of queries, heads, batches); the last queries, which see most keys, first.
template <int width>
__global__ void __launch_bounds__(ForwardShape<width>::kThreads)
    mma_forward_kernel(Problem<bf16> p, HeadMatrices<bf16> out, HeadMatrices<float> logsumexp) {
  using Shape = ForwardShape<width>;
  constexpr int kQueries = Shape::kQueries, kKeys = Shape::kKeys, kThreads = Shape::kThreads;
  constexpr float kLog2e = 1.44269504f;
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kQueries;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  TilePieces pieces{dynamic_shared<unsigned char>()};
  const Tile<width> key = pieces.tile<width>(2 * kKeys), value = pieces.tile<width>(2 * kKeys),
                    ring = pieces.tile<width>(Shape::kRing * kKeys);
  const TileSource keys(p.k, batch, head, p.keys, p.width), values(p.value, batch, head, p.keys, p.width),
      r(p.r, 0, head, p.keys, p.width);
  const auto load_keys = [&](int number) {  // and values
    const int stage = number % 2 * kKeys;
    load_tile<kThreads, kKeys>(key.from_row(stage), keys, number * kKeys);
    load_tile<kThreads, kKeys>(value.from_row(stage), values, number * kKeys);
  };
  const auto load_block = [&](int number) {
    load_tile<kThreads, kKeys>(ring.from_row(number % Shape::kRing * kKeys), r,
                               p.queries - kQueries - first + number * kKeys);
  };

  ForwardWarp<width> work;
  work.scale = *p.scale * kLog2e;
  work.first_query = first + 16 * warp;
  work.memory = p.memory();
  work.scratch = {reinterpret_cast<float*>(pieces.next) + warp * BandScratch<kKeys>::kFloats};
  load_keys(0);
  load_query_tiles<kThreads, kQueries>(ring, ring.from_row(kQueries), p, batch, head, first);
  __syncthreads();
  work.load(ring, ring.from_row(kQueries), 16 * warp);
  __syncthreads();
  for (int block = 0; block < Shape::kBandBlocks; ++block) load_block(block);
  commit_copies();

  const int tiles = (min(p.keys, first + kQueries + p.memory()) + kKeys - 1) / kKeys;
  for (int number = 0; number < tiles; ++number) {
    wait_copies<0>();
    __syncthreads();
    if (number + 1 < tiles) {
      load_keys(number + 1);
      load_block(number + Shape::kBandBlocks);
      commit_copies();
    }
    const int stage = number % 2 * kKeys;
    if (number * kKeys <= work.first_query + 15 + p.memory())
      work.add_tile(key.from_row(stage), value.from_row(stage), ring, number, kQueries - 16 - 16 * warp);
  }
  work.store(p, out, logsumexp, batch, head);
}

inline void mma_forward(const Problem<bf16>& p, Device device, const HeadMatrices<bf16>& out,
                        const HeadMatrices<float>& logsumexp) {
  with_tile_width(p.width, [&]<int width>(std::integral_constant<int, width>) {
    using Shape = ForwardShape<width>;
    const dim3 grid(blocks_for(p.queries, Shape::kQueries), static_cast<unsigned>(p.heads),
                    static_cast<unsigned>(p.batches));
    launch<mma_forward_kernel<width>>({grid, Shape::kThreads, Shape::kBytes}, stream_of(device), p, out, logsumexp);
  });
}

}  // namespace weir::cuda::attention
