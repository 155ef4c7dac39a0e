// Calls of the CUDA runtime that throw where they fail.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace weir::cuda {

// "an illegal memory access was encountered (cudaErrorIllegalAddress)", and what to do about it where that is known.
std::string reason(cudaError_t error);

// Throws RunError for every result but success: `call`, the reason, file and line of the caller.
//   check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
void check(cudaError_t result, const char* call, const char* file = __builtin_FILE(), int line = __builtin_LINE());

}  // namespace weir::cuda
