// What device code is written against. Under nvcc it is the toolkit; under a host compiler it is the emulator, which
// needs no toolkit. The same .cu file compiles with both. The C++ files of a build for real GPUs see the toolkit's
// types (streams, launch shapes) and no device code.
//
//   struct Tile { float values[32][33]; };
//   __global__ void transpose(const float* from, float* to, int n) {
//     auto& tile = shared<Tile>();
//     ...
//     __syncthreads();
//   }
//   launch<transpose>({grid, block}, stream, from, to, n);
#pragma once

#include <cstddef>
#include <string>

#if defined(WEIR_CUDA_TOOLKIT) && !defined(__CUDACC__)
#include "cuda/toolkit_types.h"
#else
#if defined(__CUDACC__)
#include "cuda/toolkit.h"
#else
#include "cuda/emulator/device.h"
#endif
#include "cuda/tensor_core.h"
#endif
