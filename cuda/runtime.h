// What launchers need beside device.h: the stream of a device, arithmetic on grids, names for a profiler.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/device.h"
#include "core/profile_range.h"
#include "cuda/device.h"

namespace weir::cuda {

// The stream on which all work of a device is ordered; makes that device the calling thread's current one.
Stream stream_of(Device device);

// Names part of a launcher's work in a profiler's timeline (NVTX); whole kernels have their op's name there already.
using Range = ProfileRange;

inline constexpr int kWarp = 32;

// Blocks that cover `items` at `per_block` each; at least one, and no more than a grid may have: a kernel whose items
// can be more strides over the grid.
inline unsigned blocks_for(std::int64_t items, std::int64_t per_block) {
  return static_cast<unsigned>(std::clamp<std::int64_t>((items + per_block - 1) / per_block, 1, 2147483647));
}

}  // namespace weir::cuda
