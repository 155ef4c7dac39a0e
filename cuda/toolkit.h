// The toolkit's side of cuda/device.h, for nvcc: the same functions as cuda/emulator/device.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

#include "cuda/toolkit_types.h"

namespace weir::cuda {

// Arguments are converted to the kernel's parameter types here and copied at once. Throws RunError naming the kernel
// and the shape where the launch is refused; what a kernel does wrong shows in the next call that waits for it.
template <auto kernel, class... Arguments>
void launch(const LaunchShape& shape, Stream stream, Arguments&&... arguments) {
  cudaError_t error = cudaSuccess;
  if (shape.dynamic_shared_bytes > kSharedBytesForTheAsking)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shape.dynamic_shared_bytes));
  if (error == cudaSuccess) {
    cudaLaunchConfig_t config{};
    config.gridDim = shape.grid;
    config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.dynamic_shared_bytes;
    config.stream = stream;
    error = cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  }
  if (error != cudaSuccess) launch_failed(__PRETTY_FUNCTION__, shape, error);
}

template <class T>
__device__ T& shared() {
  __shared__ alignas(T) unsigned char bytes[sizeof(T)];  // so that T may have a constructor, which does not run
  return *reinterpret_cast<T*>(bytes);
}

template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char weir_dynamic_shared[];
  return reinterpret_cast<T*>(weir_dynamic_shared);
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
