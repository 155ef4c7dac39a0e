#include "tools/weir/roof.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "autograd/autograd.h"
#include "core/parallel.h"
#include "ops/cpu/library_gemm.h"
#include "ops/matmul.h"
#include "ops/standard_normal.h"
#include "ops/sum.h"

namespace weir {
namespace {

// With so many running sums that no addition waits for the one before it, and memory alone sets the pace.
float sum_of(const float* from, std::int64_t n) {
  constexpr std::int64_t kSums = 64;
  float sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums <= n; i += kSums)
#pragma omp simd
    for (std::int64_t s = 0; s < kSums; ++s) sums[s] += from[i + s];
  for (std::int64_t s = 0; i + s < n; ++s) sums[s] += from[i + s];
  return std::accumulate(sums, sums + kSums, 0.0f);
}

constexpr BenchOptions kRoofRuns{.runs = 11};
constexpr ProductSize kBesideSize{1024, 1024, 1024};

double flops_on_cpu(DType dtype, Float32Products products) {
  double best = 0;
  for (const ProductSize& size :
       {ProductSize{1024, 1024, 1024}, ProductSize{2048, 512, 512}, ProductSize{512, 2048, 1024}}) {
    const MatrixProduct product(size, dtype, products);
    double seconds = time_runs(kRoofRuns, product.ours).seconds;
    if (product.by_library) {
      seconds = std::min(seconds, time_runs(kRoofRuns, product.by_library).seconds);
      cpu::library_gemm.end_threads();
    }
    best = std::max(best, size.flops() / seconds);
  }
  return best;
}

// Wider matrices until a product lasts so long that starting it no longer counts: 2 ms is some hundred launches. 50
// TFLOP/s get there at a width of 4096, an emulated GPU at 512 or 1024. Random factors, because a GPU multiplies zeros
// with less power and hence with a faster clock.
double flops_on_device(DType dtype, Device device, Float32Products products) {
  constexpr double kLongEnough = 2e-3;
  constexpr std::int64_t kNarrowest = 256, kWidest = 8192;
  const NoGradient guard;
  double best = 0, seconds = 0;
  for (std::int64_t n = kNarrowest; n <= kWidest && seconds < kLongEnough; n *= 2) {
    const Tensor a = standard_normal({n, n}, {.seed = 1, .stream = 1}, dtype, device);
    const Tensor b = standard_normal({n, n}, {.seed = 1, .stream = 2}, dtype, device);
    const auto multiply = [&] { matmul(a, b, products); };
    seconds = time_runs(kRoofRuns, multiply, device).seconds;
    best = std::max(best, ProductSize{n, n, n}.flops() / seconds);
  }
  return best;
}

Timing time_read_on_cpu(const BenchOptions& options, const Rows<float>& rows) {
  constexpr std::int64_t kPart = 1 << 18;  // elements
  const std::int64_t elements = rows.rows * rows.stride, parts = (elements + kPart - 1) / kPart;
  std::vector<float> sums(static_cast<std::size_t>(parts));
  return time_runs(options, [&] {
    parallel_for(parts, 1, [&](std::int64_t part, std::int64_t) {
      sums[static_cast<std::size_t>(part)] = sum_of(rows.data + part * kPart, std::min(kPart, elements - part * kPart));
    });
  });
}

}  // namespace

Roof matrix_roof(DType dtype, Device device, Float32Products products) {
  return {.flops = device.kind == DeviceKind::cpu ? flops_on_cpu(dtype, products)
                                                  : flops_on_device(dtype, device, products)};
}

RoofBeside::RoofBeside(DType dtype, Float32Products products) : product_(kBesideSize, dtype, products) {}

void RoofBeside::measure() {
  product_.ours();  // what else was measured has taken its operands out of the caches
  seconds_ += seconds_of(product_.ours);
  ++runs_;
}

Roof RoofBeside::roof() const { return {.flops = kBesideSize.flops() * static_cast<double>(runs_) / seconds_}; }

BenchCase time_copy(const BenchOptions& options, std::int64_t mebibytes, Device device) {
  const Tensor from = Tensor::full({mebibytes << 18}, 1, DType::float32, device), to = Tensor::empty_like(from);
  const auto copy = [&] { copy_into(from, to); };
  return {.name = "copy", .timing = time_runs(options, copy, device), .bytes = bytes_of(from, to)};
}

Roof memory_roof(Device device) {
  const BenchCase copy = time_copy(kRoofRuns, kRoofMebibytes, device);
  const BenchCase read = time_read(kRoofRuns, Tensor::full({kRoofMebibytes << 18}, 1, DType::float32, device));
  return {.bytes = 1e9 * std::max(copy.gigabytes_per_second(), read.gigabytes_per_second()),
          .bytes_by = "the better of copying and reading"};
}

BenchCase time_read(const BenchOptions& options, const Tensor& values) {
  if (values.device().kind == DeviceKind::cpu) {
    const auto rows = rows_of<float>(values);
    return {.name = "read",
            .timing = time_read_on_cpu(options, rows),
            .bytes = 4 * static_cast<double>(rows.rows * rows.stride)};
  }
  const NoGradient guard;
  const auto read = [&] { sum(values, std::array{-1}); };
  return {.name = "read", .timing = time_runs(options, read, values.device()), .bytes = bytes_of(values)};
}

}  // namespace weir
