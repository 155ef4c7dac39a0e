// The cut of sorted rows into tiles of one group each, made on the device: where groups begin is known only there. The
// grid of a kernel over tiles covers the most that any grouping could need; blocks without a tile return at once.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/tensor.h"
#include "cuda/runtime.h"
#include "cuda/scan.cuh"

namespace weir::cuda {

// Consecutive rows of one group.
struct RowTile {
  std::int64_t begin, end;
  std::int32_t group;  // -1: no tile
  std::int32_t part;   // its number among the group's tiles
};

namespace detail {

inline constexpr int kPlanThreads = 512;

// Group g of offsets that do not rise from 0 to `rows`, as they should, has no rows outside of these.
__device__ inline RowTile group_rows(const std::int64_t* offsets, std::int64_t g, std::int64_t rows) {
  const auto clamped = [rows](std::int64_t row) { return row < 0 ? 0 : row < rows ? row : rows; };
  const std::int64_t begin = clamped(offsets[g]), end = clamped(offsets[g + 1]);
  return {begin, begin < end ? end : begin, static_cast<std::int32_t>(g), 0};
}

// One block. first[g]: the number of g's first tile; [groups + 1].
__global__ void __launch_bounds__(kPlanThreads)
    plan_tiles(const std::int64_t* offsets, std::int64_t groups, std::int64_t rows, std::int64_t limit,
               std::int64_t least, std::int64_t* first, RowTile* tiles, std::int64_t capacity) {
  std::int64_t used = 0;
  for (std::int64_t base = 0; base < groups; base += kPlanThreads) {
    const std::int64_t g = base + threadIdx.x;
    std::int64_t count = 0;
    if (g < groups) {
      const RowTile whole = group_rows(offsets, g, rows);
      count = (whole.end - whole.begin + limit - 1) / limit;
      if (count < least) count = least;
    }
    const Scanned scanned = exclusive_scan<kPlanThreads>(static_cast<int>(count));
    if (g < groups) first[g] = used + scanned.before;
    used += scanned.total;
  }
  if (threadIdx.x == 0) first[groups] = used;
  __syncthreads();
  for (std::int64_t t = threadIdx.x; t < capacity; t += kPlanThreads) {
    if (t >= used) {
      tiles[t] = {0, 0, -1, 0};
      continue;
    }
    std::int64_t low = 0, high = groups;  // first[low] <= t < first[high]
    while (high - low > 1) {
      const std::int64_t middle = (low + high) / 2;
      (first[middle] <= t ? low : high) = middle;
    }
    const RowTile whole = group_rows(offsets, low, rows);
    const std::int64_t part = t - first[low], begin = whole.begin + part * limit;
    tiles[t] = {begin, begin + limit < whole.end ? begin + limit : whole.end, whole.group,
                static_cast<std::int32_t>(part)};
  }
}

}  // namespace detail

class RowTiles {
 public:
  // Cuts rows offsets[g] .. offsets[g + 1] - 1 of every group into tiles of `limit`; groups without rows get `least`
  // tiles, 0 or 1. `offsets` [groups + 1] int64 in one piece.
  RowTiles(const Tensor& offsets, std::int64_t rows, std::int64_t limit, std::int64_t least)
      : groups_(offsets.numel() - 1),
        count_(rows / limit + (least == 1 ? groups_ : std::min(groups_, rows))),
        first_(Tensor::empty(Shape{groups_ + 1}, DType::int64, offsets.device())),
        tiles_(Tensor::empty(Shape{std::max<std::int64_t>(count_, 1) * kWords}, DType::int64, offsets.device())) {
    launch<detail::plan_tiles>({1, detail::kPlanThreads}, stream_of(offsets.device()), offsets.data<std::int64_t>(),
                               groups_, rows, limit, least, first_.data<std::int64_t>(), tiles(), count_);
  }

  // How many there may be, and the tiles in device memory in the order of their rows.
  std::int64_t count() const { return count_; }
  RowTile* tiles() const { return reinterpret_cast<RowTile*>(tiles_.data<std::int64_t>()); }
  std::int64_t groups() const { return groups_; }
  // The number of each group's first tile, and behind them that of all tiles.
  const std::int64_t* first() const { return first_.data<std::int64_t>(); }

 private:
  static constexpr std::int64_t kWords = sizeof(RowTile) / sizeof(std::int64_t);
  std::int64_t groups_, count_;
  Tensor first_, tiles_;
};

}  // namespace weir::cuda
