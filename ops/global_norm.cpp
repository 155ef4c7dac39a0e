#include "ops/global_norm.h"

#include <algorithm>
#include <cmath>

#include "core/op_info.h"
#include "ops/cpu/reduce.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> global_norm_kernel{"global_norm"};

Tensor global_norm(const Tensor& x) {
  const Tensor norm = Tensor::empty({}, DType::float64, x.device());
  global_norm_kernel(x.device(), reshaped(x.detach(), {x.numel()}), norm);
  return norm;
}

namespace {

constexpr std::int64_t kChunk = kChunkOperations;  // elements per partial sum

void global_norm_cpu(const Tensor& x, const Tensor& norm) {
  const std::int64_t n = x.numel();
  std::vector<double> partial(static_cast<std::size_t>((n + kChunk - 1) / kChunk));
  visit_floating("global_norm", x.dtype(), [&]<class T>(Type<T>) {
    if (n == 0) return;
    const Tensor flat = rows_form(x);
    const T* const values = flat.data<T>();
    parallel_for(n, kChunk, [&](std::int64_t begin, std::int64_t end) {
      partial[static_cast<std::size_t>(begin / kChunk)] = cpu::sum_over<double>(end - begin, [&](std::int64_t i) {
        const auto v = static_cast<double>(values[begin + i]);
        return v * v;
      });
    });
  });
  double sum = 0;
  for (double p : partial) sum += p;
  *norm.data<double>() = std::sqrt(sum);
}

const bool on_cpu = global_norm_kernel.add(DeviceKind::cpu, global_norm_cpu);

Sample norm_sample(const std::string& name, const Shape& shape, double range = 1) {
  return {name,
          {random_tensor(shape, 1, -range, range)},
          [](std::span<const Tensor> in) { return std::vector{global_norm(in[0])}; },
          [](std::span<const Tensor> in) {
            long double sum = 0;
            for (double v : in[0].values()) sum += static_cast<long double>(v) * v;
            return std::vector{Tensor::scalar(static_cast<double>(std::sqrt(sum)), DType::float64)};
          }};
}

const OpRegistration registration{{
    .name = "global_norm",
    .source = __FILE__,
    .signature = "global_norm(x)",
    .summary = "the root of the sum of the squares of all elements, a float64 of rank 0",
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const auto& [name, shape] : sample_shapes()) samples.push_back(norm_sample(name, shape));
          samples.push_back(norm_sample("several chunks", {100003}));
          samples.push_back(norm_sample("squares beyond float32", {301}, 1e30));
          return samples;
        },
    .large = [] { return norm_sample("large", {1 << 24}); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { global_norm(Tensor::zeros({2}, DType::int32)); },
                                         "global_norm: expected dtype float64, float32 or bf16, got int32"}};
        },
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
