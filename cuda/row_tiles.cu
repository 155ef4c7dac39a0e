#include "cuda/row_tiles.h"

#include <algorithm>

#include "cuda/runtime.h"
#include "cuda/scan.cuh"

namespace weir::cuda {
namespace {

constexpr int kPlanThreads = 512;

// Group g of offsets that do not rise from 0 to `rows`, as they should, has no rows outside of these.
__device__ RowTile group_rows(const std::int64_t* offsets, std::int64_t g, std::int64_t rows) {
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

constexpr std::int64_t kTileWords = sizeof(RowTile) / sizeof(std::int64_t);

}  // namespace

RowTiles::RowTiles(const Tensor& offsets, std::int64_t rows, std::int64_t limit, std::int64_t least)
    : groups_(offsets.numel() - 1),
      count_(rows / limit + (least == 1 ? groups_ : std::min(groups_, rows))),
      first_(Tensor::empty(Shape{groups_ + 1}, DType::int64, offsets.device())),
      tiles_(Tensor::empty(Shape{std::max<std::int64_t>(count_, 1) * kTileWords}, DType::int64, offsets.device())) {
  launch<plan_tiles>({1, kPlanThreads}, stream_of(offsets.device()), offsets.data<std::int64_t>(), groups_, rows, limit,
                     least, first_.data<std::int64_t>(), tiles(), count_);
}

}  // namespace weir::cuda
