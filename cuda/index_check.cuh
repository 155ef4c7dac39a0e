// The device's side of cuda/index_check.h.
#pragma once

#include "cuda/device.h"
#include "cuda/index_check.h"

namespace weir::cuda {

// True where 0 <= value < bound; else the failure is noted, unless another was before. `position` is the index's place
// in its tensor, row-major.
__device__ inline bool index_in_range(const IndexBounds& bounds, std::int64_t value, std::int64_t position) {
  if (value >= 0 && value < bounds.bound) return true;
  IndexFailure& failure = *bounds.failure;
  if (atomicCAS(&failure.taken, 0u, 1u) == 0) {
    failure.op = bounds.op;
    failure.argument = bounds.argument;
    failure.position = position;
    failure.value = value;
    failure.bound = bounds.bound;
  }
  return false;
}

}  // namespace weir::cuda
