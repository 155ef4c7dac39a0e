// Sums of what comes before, over the threads of a block.
#pragma once

#include "cuda/runtime.h"

namespace weir::cuda {

struct Scanned {
  int before, total;  // the sum over the threads before this one, and over all
};

// Every thread of the block of `threads`, a multiple of 32, must call it.
template <int threads>
__device__ Scanned exclusive_scan(int value) {
  struct Shared {
    int warps[threads / kWarp];
  };
  auto& sums = shared<Shared>();
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  int upto = value;
  for (int step = 1; step < kWarp; step *= 2) {
    const int before = __shfl_up_sync(0xffffffffu, upto, static_cast<unsigned>(step));
    if (lane >= step) upto += before;
  }
  if (lane == kWarp - 1) sums.warps[warp] = upto;
  __syncthreads();
  Scanned result{upto - value, 0};
  for (int w = 0; w < threads / kWarp; ++w) {
    if (w < warp) result.before += sums.warps[w];
    result.total += sums.warps[w];
  }
  __syncthreads();  // before the next scan writes
  return result;
}

}  // namespace weir::cuda
