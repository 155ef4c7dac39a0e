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

// 16 queries of one warp.
template <int width>
struct ForwardWarp : SoftmaxWarp<width, ForwardShape<width>::kKeys> {
  using Shape = ForwardShape<width>;
  static constexpr int kKeys = Shape::kKeys, kSteps = width / 16;

  FragmentA content[kSteps], position[kSteps];  // q + u, q + v
  BandScratch<kKeys> scratch;

  __device__ void load(const Tile<width>& with_u, const Tile<width>& with_v, int row) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      content[step] = load_a(with_u, row, 16 * step);
      position[step] = load_a(with_v, row, 16 * step);
    }
    this->clear();
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
    this->soften(scores, number * kKeys);
    this->add_values(scores, value);
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
  work.store(out, logsumexp, batch, head, p.queries, p.width);
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
