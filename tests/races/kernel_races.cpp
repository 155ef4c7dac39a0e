// The kernels of ops under ThreadSanitizer: runs the samples of op records forwards and backwards, in float32 and bf16.
// On the CPU with four threads, in chunks of a few elements (WEIR_CHUNK_OPERATIONS);
// on the emulated GPU with blocks on two threads of the operating system, in as many groupings as part every two warps
// of the largest blocks in use (CheckedThreads). tools/race_check.sh builds and calls it.
//
//   kernel_races             prints the names of cases: the CPU's pool, and ops, planted ones included ("race ...")
//   kernel_races CASE        runs one; the sanitizer speaks up where it finds a race
//
// Not seen: races between blocks that the same thread of the operating system runs (those whose numbers differ by an
// even one).
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/parallel.h"
#include "cuda/device.h"
#include "cuda/runtime.h"
#include "tests/unit/op_suite.h"

namespace weir::tests {
namespace {

constexpr unsigned kGroupings = 3;  // for blocks of up to 27 warps
constexpr int kThreadsOnCpu = 4;
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

// Every chunk of the CPU's loop writes one sum.
std::vector<Tensor> chunks_add_to_one(std::span<const Tensor> inputs) {
  const Tensor y = Tensor::full({1}, 0, inputs[0].dtype());
  if (inputs[0].device().kind != DeviceKind::cpu || inputs[0].dtype() != DType::float32) return {y};
  const float* const x = inputs[0].data<float>();
  parallel_for(inputs[0].numel(), grain_for(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) *y.data<float>() += x[i];
  });
  return {y};
}

std::vector<Sample> sample_of_chunks() {
  return {{.name = "planted",
           .inputs = {Tensor::full({1 << 16}, 1.0, DType::float64)},
           .run = chunks_add_to_one,
           .reference = nullptr}};
}

template <auto kernel>
std::vector<Sample> planted_sample() {
  const auto run = [](std::span<const Tensor> inputs) {
    const Tensor y = Tensor::empty({kBlocks * kThreads + 1}, DType::float32, inputs[0].device());
    if (y.device() == kGpu)
      cuda::launch<kernel>({kBlocks, kThreads}, cuda::stream_of(kGpu), inputs[0].data<float>(), y.data<float>());
    return std::vector{y};
  };
  return {{.name = "planted",
           .inputs = {Tensor::full({kBlocks * kThreads}, 1.0, DType::float64)},
           .run = run,
           .reference = nullptr}};
}

OpRecord planted(const char* name, std::vector<Sample> (*samples)()) {
  OpRecord record;
  record.name = name;
  record.samples = samples;
  record.differentiable = record.low_precision = false;
  return record;
}

const OpRegistration reads{
    planted("race planted: a missing barrier before reading", planted_sample<reads_without_barrier>)};
const OpRegistration writes{
    planted("race planted: a missing barrier before writing", planted_sample<writes_without_barrier>)};
const OpRegistration blocks{
    planted("race planted: two blocks write one element", planted_sample<two_blocks_write_one>)};
const OpRegistration chunks{planted("race planted: the chunks of a loop add to one element", sample_of_chunks)};

void run_on_cpu(const OpRecord& record, const Sample& sample, DType dtype) {
  set_thread_count(kThreadsOnCpu);
  forward_and_gradients(sample, inputs_of(sample, dtype, Device{}), record.differentiable);
  set_thread_count(1);
}

void run_on_gpu(const OpRecord& record, const Sample& sample, DType dtype, unsigned grouping) {
  emulator::set_grouping(grouping);
  forward_and_gradients(sample, inputs_of(sample, dtype, kGpu), record.differentiable);
}

void run(const OpRecord& record) {
  int runs = 0;
  const std::vector<Sample> samples = record.samples();
  for (const Sample& sample : samples)
    for (const DType dtype : {DType::float32, DType::bf16}) {
      if (dtype == DType::bf16 && !record.low_precision) continue;
      run_on_cpu(record, sample, dtype), ++runs;
      for (unsigned grouping = 0; grouping < kGroupings; ++grouping, ++runs)
        run_on_gpu(record, sample, dtype, grouping);
    }
  if (runs == 0) throw std::runtime_error("no sample");
  std::printf("%zu samples, %d runs\n", samples.size(), runs);
}

constexpr const char* kPool = "the pool of threads";

void run_loops() {
  std::vector<int> times(64);
  parallel_for(64, 1, [&](std::int64_t begin, std::int64_t end) {
    parallel_for(end - begin, 1, [&](std::int64_t, std::int64_t) { ++times[static_cast<std::size_t>(begin)]; });
  });
  for (const int n : times)
    if (n != 1) throw std::logic_error("a chunk ran " + std::to_string(n) + " times");
  bool caught = false;
  try {
    parallel_for(64, 1, [](std::int64_t begin, std::int64_t) {
      if (begin % 7 == 3) throw std::runtime_error("from a chunk");
    });
  } catch (const std::runtime_error&) {
    caught = true;
  }
  if (!caught) throw std::logic_error("an exception did not reach the caller");
}

// From two threads at a time, on pools of changing size.
void run_pool() {
  for (int round = 0; round < 100; ++round) {
    set_thread_count(2 + round % 3);
    std::thread other(run_loops);
    run_loops();
    other.join();
  }
}

}  // namespace
}  // namespace weir::tests

int main(int argc, char** argv) {
  using namespace weir;
  if (argc < 2) {
    std::puts(tests::kPool);
    for (const OpRecord& record : op_records()) std::puts(record.name.c_str());
    return 0;
  }
  set_thread_count(1);
  emulator::set_workers(2);
  try {
    if (argv[1] == std::string_view(tests::kPool)) return tests::run_pool(), 0;
    for (const OpRecord& record : op_records())
      if (record.name == argv[1]) return tests::run(record), 0;
    std::fprintf(stderr, "kernel_races: there is no op %s\n", argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_races: %s: %s\n", argv[1], error.what());
  }
  return 2;
}
