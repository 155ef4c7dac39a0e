// What relative attention asks of tiles in shared memory beside products: queries with their biases, and the position
// scores along the diagonals.
#pragma once

#include <cstdint>

#include "cuda/attention_tiles.cuh"
#include "cuda/relative_attention_problem.cuh"

namespace weir::cuda::attention {

// q + u and q + v of `count` queries from `first` on, rounded to bf16; zeros outside.
template <int threads, int count, int width>
__device__ void load_query_tiles(const Tile<width>& content, const Tile<width>& position, const Problem<bf16>& p,
                                 int batch, int head, int first) {
  constexpr int kPairs = width / 2;
  const float *const u = p.u + head * p.u_step, *const v = p.v + head * p.v_step;
  for (int item = static_cast<int>(threadIdx.x); item < count * kPairs; item += threads) {
    const int i = item / kPairs, pair = item % kPairs * 2;
    bf16 with_u[2], with_v[2];
    for (int r = 0; r < 2; ++r) {
      const int e = pair + r;
      if (first + i >= p.queries || e >= p.width) continue;
      const float q = p.q.row(batch, head, first + i)[e];
      with_u[r] = bf16(q + u[e]);
      with_v[r] = bf16(q + v[e]);
    }
    *reinterpret_cast<std::uint32_t*>(content.row(i) + pair) = pack(with_u[0], with_u[1]);
    *reinterpret_cast<std::uint32_t*>(position.row(i) + pair) = pack(with_v[0], with_v[1]);
  }
}

// --- the position scores of 16 queries -----------------------------------------------------------------------------

// A warp's products of 16 queries with the rows of r that these take for `keys` keys, 16 + keys of them: query i takes
// for key j the row j - i + 15. They go through shared memory, for the lane that has a product is not the one whose
// score it belongs to. The pitch: a row further is four banks further (modulo 16) where the column moves along with the
// row, so the lanes' reads, odd rows the second column first, fall into different banks.
template <int keys>
struct BandScratch {
  static constexpr int kColumns = 16 + keys, kPitch = kColumns + 5, kFloats = 16 * kPitch;

  float* data;

  // products: columns `column` .. `column` + 15.
  __device__ void store(const FragmentC (&products)[2], int column) const {
    const int group = lane_id() / 4, pair = lane_id() % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int r = 0; r < 4; ++r)
        data[(group + r / 2 * 8) * kPitch + column + 8 * half + pair + r % 2] = products[half].r[r];
  }

  // scores[n] = the scores of keys 8n .. 8n + 7.
  __device__ void load(FragmentC (&scores)[keys / 8]) const {
    const int group = lane_id() / 4, pair = lane_id() % 4 * 2, odd = group % 2;
#pragma unroll
    for (int n = 0; n < keys / 8; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int i = group + half * 8;
        const float* const place = data + i * kPitch + 8 * n + pair - i + 15;
        const float x = place[odd], y = place[1 - odd];
        scores[n].r[2 * half] = odd != 0 ? y : x;
        scores[n].r[2 * half + 1] = odd != 0 ? x : y;
      }
  }
};

}  // namespace weir::cuda::attention
