// The toolkit's side of cuda/device.h, for nvcc: the same functions as cuda/emulator/device.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>

namespace weir::cuda {

struct LaunchShape {
  dim3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
};

using Stream = cudaStream_t;

template <auto kernel, class... Arguments>
void launch(const LaunchShape& shape, Stream stream, Arguments... arguments) {
  kernel<<<shape.grid, shape.block, shape.dynamic_shared_bytes, stream>>>(arguments...);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess)
    throw std::runtime_error(std::string("launch of ") + __PRETTY_FUNCTION__ + ": " + cudaGetErrorString(error));
}

template <class T>
__device__ T& shared() {
  __shared__ T object;
  return object;
}

__device__ inline void copy_16_async(void* to, const void* from, int bytes = 16) {
  const auto place = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(bytes) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int groups_left>
__device__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
}

}  // namespace weir::cuda
