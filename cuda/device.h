// What device code is written against. Under nvcc it is the toolkit; under a host compiler it is the emulator, which
// needs no toolkit. The same .cu file compiles with both.
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

#if defined(__CUDACC__)
#include "cuda/toolkit.h"
#else
#include "cuda/emulator/device.h"
#endif

#include "cuda/tensor_core.h"
