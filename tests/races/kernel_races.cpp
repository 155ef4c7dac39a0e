// The kernels of ops under ThreadSanitizer: runs the samples of op records on the emulated GPU, forwards and backwards,
// in float32, bf16 and, where products take it, tf32, blocks on two threads of the operating system, in as many
// groupings as part every two warps of the largest blocks in use (CheckedThreads). tools/race_check.sh builds and calls
// it.
//
//   kernel_races             prints the names of ops, planted ones included, which begin with "race"
//   kernel_races OP          runs one; the sanitizer speaks up where it finds a race
//
// Not seen: races between blocks that the same thread of the operating system runs (those whose numbers differ by an
// even one).
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

#include "core/float32_products.h"
#include "core/parallel.h"
#include "cuda/device.h"
#include "cuda/runtime.h"
#include "tests/unit/op_suite.h"

namespace weir::tests {
namespace {

constexpr unsigned kGroupings = 3;  // for blocks of up to 27 warps
constexpr Device kGpu{DeviceKind::cuda, 0};

// Ops whose kernel is wrong on purpose, run like all others, so that a check that has gone blind shows. In blocks of
// 256 threads two of them meet, no more.
constexpr unsigned kBlocks = 3, kThreads = 256;

// Thread 37 writes what thread 130 reads, in warps that only the second grouping parts.
__global__ void reads_without_barrier(const float* x, float* y) {
  auto& value = cuda::shared<float>();
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (threadIdx.x == 37) value = x[i];
  y[i] = threadIdx.x == 130 ? value : x[i];
}

// A barrier parts reading from writing, and none the writing of the next round from the reading.
__global__ void writes_without_barrier(const float* x, float* y) {
  auto& value = cuda::shared<float>();
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  float sum = 0;
  for (int round = 0; round < 2; ++round) {
    if (threadIdx.x == 37) value = x[i];
    __syncthreads();
    if (threadIdx.x == 250) sum += value;
  }
  y[i] = sum;
}

__global__ void two_blocks_write_one(const float* x, float* y) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  y[i] = x[i];
  if (i == 7 || i == kThreads + 200) y[kBlocks * kThreads] = x[i];
}

template <auto kernel>
std::vector<Sample> planted_sample() {
  const auto run = [](std::span<const Tensor> inputs) {
    const Tensor y = Tensor::empty({kBlocks * kThreads + 1}, DType::float32, kGpu);
    cuda::launch<kernel>({kBlocks, kThreads}, cuda::stream_of(kGpu), inputs[0].data<float>(), y.data<float>());
    return std::vector{y};
  };
  return {{.name = "planted",
           .inputs = {Tensor::full({kBlocks * kThreads}, 1.0, DType::float64)},
           .run = run,
           .reference = nullptr}};
}

template <auto kernel>
OpRecord planted(const char* name) {
  OpRecord record;
  record.name = name;
  record.samples = planted_sample<kernel>;
  record.differentiable = record.low_precision = false;
  return record;
}

const OpRegistration reads{planted<reads_without_barrier>("race planted: a missing barrier before reading")};
const OpRegistration writes{planted<writes_without_barrier>("race planted: a missing barrier before writing")};
const OpRegistration blocks{planted<two_blocks_write_one>("race planted: two blocks write one element")};

struct Mode {
  DType dtype;
  Float32Products products = Float32Products::ieee;
};

std::vector<Mode> modes_of(const OpRecord& record) {
  std::vector<Mode> modes{{DType::float32}};
  if (record.low_precision) modes.push_back({DType::bf16});
  // The ops whose kernels know tf32.
  if (record.name == "expert_feedforward" || record.name == "grouped_matmul")
    modes.push_back({DType::float32, Float32Products::tf32});
  return modes;
}

void run(const OpRecord& record) {
  int runs = 0;
  const std::vector<Sample> samples = record.samples();
  for (const Sample& sample : samples)
    for (const Mode& mode : modes_of(record)) {
      const Float32ProductsScope scope(mode.products);
      for (unsigned grouping = 0; grouping < kGroupings; ++grouping, ++runs) {
        emulator::set_grouping(grouping);
        forward_and_gradients(sample, inputs_of(sample, mode.dtype, kGpu), record.differentiable);
      }
    }
  if (runs == 0) throw std::runtime_error("no sample");
  std::printf("%zu samples, %d runs\n", samples.size(), runs);
}

}  // namespace
}  // namespace weir::tests

int main(int argc, char** argv) {
  using namespace weir;
  if (argc < 2) {
    for (const OpRecord& record : op_records()) std::puts(record.name.c_str());
    return 0;
  }
  set_thread_count(1);  // what the CPU computes is not what is looked at
  emulator::set_workers(2);
  try {
    for (const OpRecord& record : op_records())
      if (record.name == argv[1]) return tests::run(record), 0;
    std::fprintf(stderr, "kernel_races: there is no op %s\n", argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_races: %s: %s\n", argv[1], error.what());
  }
  return 2;
}
