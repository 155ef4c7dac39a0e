#include <fmt/format.h>

#include <string_view>

#include "core/error.h"
#include "cuda/toolkit_check.h"
#include "cuda/toolkit_types.h"

namespace weir::cuda {
namespace {

ExitCode code_of(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return ExitCode::out_of_memory;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return ExitCode::unavailable;
    default:
      return ExitCode::internal;
  }
}

std::string_view advice(cudaError_t error) {
  switch (error) {
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "; Weir was built for other GPUs: configure it with -Dgpu_architectures=, the GPU's compute capability "
             "without the point";
    case cudaErrorMemoryAllocation:
      return "; nvidia-smi names the programs that hold memory of the GPU";
    case cudaErrorDevicesUnavailable:
      return "; another process may hold the GPU for itself: see nvidia-smi";
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
      return "; a kernel that was launched before did it: run again with CUDA_LAUNCH_BLOCKING=1, or under "
             "compute-sanitizer, to learn which";
    default:
      return "";
  }
}

// Of "... [with auto kernel = name; Arguments = {...}]".
std::string_view kernel_name(std::string_view launcher) {
  constexpr std::string_view kBefore = "kernel = ";
  const std::size_t begin = launcher.find(kBefore);
  if (begin == std::string_view::npos) return launcher;
  const std::string_view rest = launcher.substr(begin + kBefore.size());
  return rest.substr(0, rest.find_first_of(";]"));
}

std::string text(dim3 d) { return fmt::format("({}, {}, {})", d.x, d.y, d.z); }

}  // namespace

std::string reason(cudaError_t error) {
  return fmt::format("{} ({}){}", cudaGetErrorString(error), cudaGetErrorName(error), advice(error));
}

void check(cudaError_t result, const char* call, const char* file, int line) {
  if (result == cudaSuccess) return;
  cudaGetLastError();  // so that the next call does not report it again
  throw RunError(code_of(result), fmt::format("{} at {}:{}: {}", call, file, line, reason(result)));
}

void launch_failed(const char* launcher, const LaunchShape& shape, cudaError_t error) {
  cudaGetLastError();
  throw RunError(code_of(error),
                 fmt::format("launch of {} with {} blocks of {} threads and {} bytes of dynamic shared memory: {}",
                             kernel_name(launcher), text(shape.grid), text(shape.block), shape.dynamic_shared_bytes,
                             reason(error)));
}

}  // namespace weir::cuda
