// The kernels of ops under ThreadSanitizer: runs the samples of op records on the emulated GPU, forwards and backwards,
// in float32 and bf16, blocks on two threads of the operating system. tools/race_check.sh builds and calls it.
//
//   kernel_races             prints the names of ops, planted ones included, whose names begin with "race"
//   kernel_races OP          runs one; the sanitizer speaks up where it finds a race
//
// Large samples are left out, for the sanitizer takes a microsecond for what takes a GPU next to nothing.
#include <cstdio>
#include <stdexcept>
#include <string>

#include "core/parallel.h"
#include "cuda/device.h"
#include "cuda/runtime.h"
#include "tests/unit/op_suite.h"

namespace weir::tests {
namespace {

constexpr std::int64_t kMostElements = 200000000;  // of a sample's inputs together
constexpr Device kGpu{DeviceKind::cuda, 0};

// Ops whose kernel is wrong on purpose, run like all others: a check that reports nothing would show here.
constexpr int kThreads = 256;
struct Row {
  float v[kThreads];
};

// y[i] = x[i + 32]: from the next warp, without a barrier
__global__ void takes_from_next_warp(const float* x, float* y) {
  auto& row = cuda::shared<Row>();
  row.v[threadIdx.x] = x[blockIdx.x * kThreads + threadIdx.x];
  y[blockIdx.x * kThreads + threadIdx.x] = row.v[(threadIdx.x + 32) % kThreads];
}

// Every block writes the last element.
__global__ void all_write_one(const float* x, float* y) {
  y[blockIdx.x * kThreads + threadIdx.x] = x[blockIdx.x * kThreads + threadIdx.x];
  if (threadIdx.x == 7) y[gridDim.x * kThreads] = x[0];
}

template <auto kernel>
std::vector<Sample> planted_sample() {
  constexpr unsigned blocks = 3;
  const auto run = [](std::span<const Tensor> inputs) {
    const Tensor y = Tensor::empty({blocks * kThreads + 1}, DType::float32, kGpu);
    cuda::launch<kernel>({blocks, kThreads}, cuda::stream_of(kGpu), inputs[0].data<float>(), y.data<float>());
    return std::vector{y};
  };
  return {{.name = "planted",
           .inputs = {Tensor::full({blocks * kThreads}, 1.0, DType::float64)},
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

const OpRegistration in_block{planted<takes_from_next_warp>("race: within a block, planted")};
const OpRegistration between_blocks{planted<all_write_one>("race: between blocks, planted")};

std::int64_t elements(const Sample& sample) {
  std::int64_t sum = 0;
  for (const Tensor& t : sample.inputs) sum += t.numel();
  return sum;
}

void run(const OpRecord& record) {
  int runs = 0, samples = 0;
  std::string left_out;
  for (const Sample& sample : record.samples()) {
    if (elements(sample) > kMostElements) {
      left_out += (left_out.empty() ? "; left out: " : ", ") + sample.name;
      continue;
    }
    ++samples;
    for (const DType dtype : {DType::float32, DType::bf16}) {
      if (dtype == DType::bf16 && !record.low_precision) continue;
      forward_and_gradients(sample, inputs_of(sample, dtype, kGpu), record.differentiable);
      ++runs;
    }
  }
  std::printf("%d samples, %d runs%s\n", samples, runs, left_out.c_str());
  if (runs == 0) throw std::runtime_error("no sample of " + record.name + " is small enough");
}

}  // namespace
}  // namespace weir::tests

int main(int argc, char** argv) {
  using namespace weir;
  set_thread_count(1);  // what the CPU computes is not what is looked at
  emulator::set_workers(2);
  bool found = false;
  for (const OpRecord& record : op_records()) {
    if (argc < 2) std::puts(record.name.c_str());
    if (argc < 2 || record.name != argv[1]) continue;
    found = true;
    tests::run(record);
  }
  return argc < 2 || found ? 0 : 2;
}
