// Reductions within a warp and within a block, in a fixed order; and teams of threads that share a row. A kernel
// written for a team serves short rows, eight lanes each, as well as long ones, a block each:
//
//   template <class T, class Team>
//   __global__ void sum_rows(Rows<T> x, T* y, bool vectors) {
//     const Team team;
//     for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
//       T sum = 0;
//       for_packs<T>(team, x.cols, [&](std::int64_t col, int count) { ... });
//       sum = team.reduce(sum, Add{});
//     }
//   }
//   with_team<T>(x.cols, [&]<class Team>(Type<Team>) { launch<sum_rows<T, Team>>(team_shape<Team>(x.rows), ...); });
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "cuda/pack.cuh"
#include "cuda/runtime.h"
#include "ops/add.h"

namespace weir::cuda {

// Passes over NaN.
struct Larger {
  template <class Value>
  __device__ Value operator()(Value a, Value b) const {
    return b > a ? b : a;
  }
};

// All `lanes` neighbours get the same bits: op commutes, and each of them forms the same tree.
template <int lanes, class Value, class Op>
__device__ Value reduce_lanes(unsigned mask, Value value, Op op) {
  for (int step = lanes / 2; step > 0; step /= 2) value = op(value, __shfl_xor_sync(mask, value, step));
  return value;
}

// 2^k lanes of a warp that share a row; a block holds several teams.
template <int lanes>
struct LaneTeam {
  static constexpr int kBlock = 128, kSize = lanes, kPerBlock = kBlock / lanes;

  __device__ int index() const { return static_cast<int>(threadIdx.x) % lanes; }
  // The rows of this team: first(), first() + stride(), ...
  __device__ std::int64_t first() const {
    return std::int64_t{blockIdx.x} * kPerBlock + static_cast<int>(threadIdx.x) / lanes;
  }
  __device__ std::int64_t stride() const { return std::int64_t{gridDim.x} * kPerBlock; }

  // The lanes of the warp that are of this team.
  __device__ unsigned mask() const {
    constexpr unsigned kLanes = lanes == kWarp ? 0xffffffffu : (1u << lanes % kWarp) - 1;
    return kLanes << static_cast<int>(threadIdx.x) % kWarp / lanes * lanes;
  }

  // op over the team's values; every thread of the team must call it, and all get the same result.
  template <class Value, class Op>
  __device__ Value reduce(Value value, Op op) const {
    return reduce_lanes<lanes>(mask(), value, op);
  }
};

// All threads of a block.
struct BlockTeam {
  static constexpr int kBlock = 256, kSize = kBlock, kPerBlock = 1;

  __device__ int index() const { return static_cast<int>(threadIdx.x); }
  __device__ std::int64_t first() const { return blockIdx.x; }
  __device__ std::int64_t stride() const { return gridDim.x; }

  template <class Value, class Op>
  __device__ Value reduce(Value value, Op op) const {
    constexpr int kWarps = kBlock / kWarp;
    struct Shared {
      Value values[kWarps];
    };
    auto& warps = shared<Shared>();
    value = reduce_lanes<kWarp>(0xffffffffu, value, op);
    if (index() % kWarp == 0) warps.values[index() / kWarp] = value;
    __syncthreads();
    value = warps.values[0];
    for (int w = 1; w < kWarps; ++w) value = op(value, warps.values[w]);
    __syncthreads();  // before the next reduction writes
    return value;
  }
};

// f(col, count) for the packs of a row that this thread of the team takes; the last pack may hold fewer than all.
template <class T, class Team, class F>
__device__ void for_packs(const Team& team, std::int64_t cols, F&& f) {
  constexpr int n = kPack<T>;
  for (std::int64_t col = team.index() * n; col < cols; col += Team::kSize * n)
    f(col, static_cast<int>(cols - col < n ? cols - col : n));
}

// Calls f(Type<Team>{}) with the team that suits rows of that width.
template <class T, class F>
void with_team(std::int64_t cols, F&& f) {
  const std::int64_t packs = (cols + kPack<T> - 1) / kPack<T>;
  if (packs <= 16)
    f(Type<LaneTeam<8>>{});
  else if (packs <= 256)
    f(Type<LaneTeam<kWarp>>{});
  else
    f(Type<BlockTeam>{});
}

template <class Team>
LaunchShape team_shape(std::int64_t rows) {
  return {blocks_for(rows, Team::kPerBlock), Team::kBlock};
}

}  // namespace weir::cuda
