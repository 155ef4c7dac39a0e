// What nvcc adds to C++, for a host compiler: qualifiers, built-in types and variables. Device code includes
// cuda/device.h, which takes this file or the toolkit.
#pragma once

#include <cstdint>

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

// In a shared library too, such a variable is one addition away.
#define WEIR_FAST_THREAD_LOCAL __attribute__((tls_model("initial-exec")))

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
constexpr float2 make_float2(float x, float y) { return {x, y}; }
constexpr float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
constexpr uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
constexpr uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
constexpr int2 make_int2(int x, int y) { return {x, y}; }
constexpr int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

// Real variables, written at every switch between threads: a debugger prints them and breaks on them
// (`break kernel if threadIdx.x == 37`).
extern constinit thread_local uint3 threadIdx WEIR_FAST_THREAD_LOCAL, blockIdx WEIR_FAST_THREAD_LOCAL;
extern constinit thread_local dim3 blockDim WEIR_FAST_THREAD_LOCAL, gridDim WEIR_FAST_THREAD_LOCAL;
inline constexpr int warpSize = 32;
