// The types of cuda/device.h for the C++ files of a build with the toolkit; nvcc sees them by way of cuda/toolkit.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace weir::cuda {

struct LaunchShape {
  dim3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
};

using Stream = cudaStream_t;

// Dynamic shared memory beyond this has to be asked for, kernel by kernel.
inline constexpr std::size_t kSharedBytesForTheAsking = 48 * 1024;

// Throws RunError; `launcher` is the __PRETTY_FUNCTION__ of launch<kernel>, which holds the kernel's name.
[[noreturn]] void launch_failed(const char* launcher, const LaunchShape& shape, cudaError_t error);

}  // namespace weir::cuda
