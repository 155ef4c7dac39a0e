// Kernels with a planted race each, and clean ones beside them, for ThreadSanitizer: tools/race_check.sh runs
// `races NAME` for every name that `races` prints, and expects a report from exactly those that begin with "race".
// Launches of 64 threads and few blocks, for the sanitizer tells some 250 threads apart.
#include <cstdio>
#include <cstring>
#include <vector>

#include "cuda/device.h"

using namespace weir::cuda;

namespace {

constexpr unsigned kAll = 0xffffffffu;

struct Row {
  float v[64];
};

// Each thread hands its number to its neighbour. What is missing makes the race.
template <bool before_read, bool before_write>
__global__ void neighbours(float* out) {
  auto& row = shared<Row>();
  float sum = 0;
  for (int round = 0; round < 3; ++round) {
    row.v[threadIdx.x] = static_cast<float>(round);
    if (before_read) __syncthreads();
    sum += row.v[(threadIdx.x + 1) % 64];
    if (before_write) __syncthreads();
  }
  out[blockIdx.x * 64 + threadIdx.x] = sum;
}

template <bool with_barrier>
__global__ void warp_neighbours(float* out) {
  auto& row = shared<Row>();
  const unsigned lane = threadIdx.x % 32, first = threadIdx.x - lane;
  row.v[threadIdx.x] = 1;
  if (with_barrier) __syncwarp();
  out[threadIdx.x] = row.v[first + (lane + 1) % 32];
}

// Lanes of the lower half hand over to each other, and meet by a mask of their own.
template <bool right_half>
__global__ void half_warp_neighbours(float* out) {
  auto& row = shared<Row>();
  row.v[threadIdx.x] = 1;
  if (threadIdx.x % 32 >= 16) return;
  __syncwarp(0xffffu);
  out[threadIdx.x] = row.v[right_half ? threadIdx.x ^ 1 : threadIdx.x ^ 16];
}

__global__ void writes_neighbouring_block(float* out) {
  out[blockIdx.x * 64 + threadIdx.x] = 1;
  if (blockIdx.x > 0) out[blockIdx.x * 64 + threadIdx.x - 64] = 2;
}

// Sums of blocks, added up by the block that finishes last.
template <bool with_fence>
__global__ void last_block_sums(const float* values, float* sums, unsigned* finished, float* total) {
  auto& last = shared<unsigned>();
  float sum = values[blockIdx.x * 32 + threadIdx.x];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(kAll, sum, step);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = sum;
    if (with_fence) __threadfence();
    last = atomicAdd(finished, 1u) == gridDim.x - 1;
    if (with_fence) __threadfence();
  }
  __syncthreads();
  if (last != 0 && threadIdx.x == 0) {
    float all = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) all += sums[i];
    *total = all;
  }
}

template <bool atomic>
__global__ void counts(unsigned* count) {
  if (atomic)
    atomicAdd(count, 1u);
  else
    ++*count;
}

// Double buffering by asynchronous copies; the copies of one thread are read by another.
template <bool with_barrier>
__global__ void staged(const float* from, float* out) {
  auto& row = shared<Row>();
  if (threadIdx.x < 16) copy_16_async(&row.v[threadIdx.x * 4], from + threadIdx.x * 4);
  commit_copies();
  wait_copies<0>();
  if (with_barrier) __syncthreads();
  out[blockIdx.x * 64 + threadIdx.x] = row.v[63 - threadIdx.x];
}

struct Halves {
  alignas(16) weir::bf16 v[32][8];
};
template <bool with_barrier>
__global__ void loads_matrices(std::uint32_t* out) {
  auto& rows = shared<Halves>();
  for (int i = 0; i < 8; ++i) rows.v[(threadIdx.x + 1) % 32][i] = weir::bf16(1.0f);
  if (with_barrier) __syncwarp();
  out[blockIdx.x * 32 + threadIdx.x] = ldmatrix_x4(rows.v[threadIdx.x]).r[0];
}

struct Case {
  const char* name;
  void (*run)();
};

std::vector<float> numbers(4096, 1.0f), results(4096);
std::vector<std::uint32_t> words(4 * 32);
unsigned number = 0;
float total = 0;

const Case kCases[] = {
    {"race: a missing barrier before reading",
     [] {
       launch<neighbours<false, true>>({{1}, {64}}, {}, results.data());
     }},
    {"race: a missing barrier before the next writing",
     [] {
       launch<neighbours<true, false>>({{1}, {64}}, {}, results.data());
     }},
    {"clean: both barriers, three blocks",
     [] {
       launch<neighbours<true, true>>({{3}, {64}}, {}, results.data());
     }},
    {"race: a missing __syncwarp",
     [] {
       launch<warp_neighbours<false>>({{1}, {64}}, {}, results.data());
     }},
    {"clean: __syncwarp",
     [] {
       launch<warp_neighbours<true>>({{1}, {64}}, {}, results.data());
     }},
    {"race: reading lanes outside of the mask that met",
     [] {
       launch<half_warp_neighbours<false>>({{1}, {64}}, {}, results.data());
     }},
    {"clean: half a warp meets",
     [] {
       launch<half_warp_neighbours<true>>({{1}, {64}}, {}, results.data());
     }},
    {"race: two blocks write one element",
     [] {
       launch<writes_neighbouring_block>({{2}, {64}}, {}, results.data());
     }},
    {"race: a last-block sum without fences",
     [] {
       launch<last_block_sums<false>>({{4}, {32}}, {}, numbers.data(), results.data(), &number, &total);
     }},
    {"clean: a last-block sum",
     [] {
       launch<last_block_sums<true>>({{4}, {32}}, {}, numbers.data(), results.data(), &number, &total);
     }},
    {"race: counting without an atomic operation",
     [] {
       launch<counts<false>>({{1}, {64}}, {}, &number);
     }},
    {"clean: counting by an atomic operation",
     [] {
       launch<counts<true>>({{4}, {64}}, {}, &number);
     }},
    {"race: reading another thread's copies without a barrier",
     [] {
       launch<staged<false>>({{1}, {64}}, {}, numbers.data(), results.data());
     }},
    {"clean: reading another thread's copies",
     [] {
       launch<staged<true>>({{2}, {64}}, {}, numbers.data(), results.data());
     }},
    {"race: ldmatrix of rows just written",
     [] {
       launch<loads_matrices<false>>({{1}, {32}}, {}, words.data());
     }},
    {"clean: ldmatrix",
     [] {
       launch<loads_matrices<true>>({{4}, {32}}, {}, words.data());
     }},
};

}  // namespace

int main(int argc, char** argv) {
  weir::emulator::set_workers(2);
  bool found = false;
  for (const Case& c : kCases) {
    if (argc < 2) std::puts(c.name);
    if (argc < 2 || std::strcmp(argv[1], c.name) != 0) continue;
    found = true;
    c.run();
  }
  return argc < 2 || found ? 0 : 2;
}
