#include "tools/weir/roof.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/parallel.h"
#include "ops/cpu/library_gemm.h"
#include "tools/weir/matrix_product.h"

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

}  // namespace

Roof matrix_roof(DType dtype, Device device) {
  Roof roof;
  if (device.kind != DeviceKind::cpu) return roof;
  const BenchOptions options{.runs = 11};
  for (const ProductSize& size :
       {ProductSize{1024, 1024, 1024}, ProductSize{2048, 512, 512}, ProductSize{512, 2048, 1024}}) {
    const MatrixProduct product(size, dtype);
    double seconds = time_runs(options, product.ours).seconds;
    if (product.by_library) {
      seconds = std::min(seconds, time_runs(options, product.by_library).seconds);
      cpu::library_gemm.end_threads();
    }
    roof.flops = std::max(roof.flops, size.flops() / seconds);
  }
  return roof;
}

Timing time_read(const BenchOptions& options, const Tensor& values) {
  const auto rows = rows_of<float>(values);
  constexpr std::int64_t kPart = 1 << 18;  // elements
  const std::int64_t elements = rows.rows * rows.stride, parts = (elements + kPart - 1) / kPart;
  std::vector<float> sums(static_cast<std::size_t>(parts));
  return time_runs(options, [&] {
    parallel_for(parts, 1, [&](std::int64_t part, std::int64_t) {
      sums[static_cast<std::size_t>(part)] = sum_of(rows.data + part * kPart, std::min(kPart, elements - part * kPart));
    });
  });
}

}  // namespace weir
