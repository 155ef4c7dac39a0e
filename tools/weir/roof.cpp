#include "tools/weir/roof.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "ops/cpu/library_gemm.h"
#include "ops/cpu/reduce.h"
#include "tools/weir/matrix_product.h"

namespace weir {

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
      const float* const from = rows.data + part * kPart;
      sums[static_cast<std::size_t>(part)] =
          cpu::sum_over<float>(std::min(kPart, elements - part * kPart), [&](std::int64_t i) { return from[i]; });
    });
  });
}

}  // namespace weir
