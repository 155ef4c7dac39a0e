// Indices out of range, on a GPU. A kernel cannot throw: it leaves such an index out and notes the first one in a
// record of the device (cuda/index_check.cuh); when the host next waits for the device, the note becomes the
// ArgumentError that the CPU throws at once.
//
// The record lies in the host's memory, where kernels may write too. So looking at it costs the host no copy, and a
// kernel whose indices are in range never touches it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/device.h"

namespace weir::cuda {

// The first index out of range; `op` and `argument` are texts of the host, which kernels only pass on.
struct IndexFailure {
  unsigned taken;  // 1 once a thread has claimed the record
  const char *op, *argument;
  std::int64_t position, value, bound;
};

// What a kernel needs to check indices against [0, bound): passed to it by value.
struct IndexBounds {
  IndexFailure* failure;
  const char *op, *argument;  // texts that live for ever
  std::int64_t bound;
};

IndexBounds index_bounds(Device device, const char* op, const char* argument, std::int64_t bound);

// Throws ArgumentError if a kernel has met an index out of range, and clears the record. The backend calls it wherever
// the host has waited for the device.
void check_indices(Device device);

// From the backend: zeros in the host's memory that the device's kernels may read and write, never released.
void* host_memory_for_kernels(Device device, std::size_t bytes);

}  // namespace weir::cuda
