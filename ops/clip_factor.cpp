#include "ops/clip_factor.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, double, const Tensor&)> clip_factor_kernel{"clip_factor"};

Tensor clip_factor(const Tensor& norm, double clip) {
  Tensor factor = Tensor::empty_like(norm);
  clip_factor_kernel(norm.device(), norm, clip, factor);
  return factor;
}

namespace {

void clip_factor_cpu(const Tensor& norm, double clip, const Tensor& factor) {
  visit_floating("clip_factor", norm.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        factor,
        [limit = static_cast<Value>(clip)](Value n) {
          if (!std::isfinite(n)) return std::numeric_limits<Value>::quiet_NaN();
          return limit > 0 ? std::min(Value(1), limit / (n + Value(1e-6))) : Value(1);
        },
        norm);
  });
}

const bool on_cpu = clip_factor_kernel.add(DeviceKind::cpu, clip_factor_cpu);

std::vector<Sample> samples_with(double clip) {
  const auto reference = [clip](double n) { return clip == 0 || n + 1e-6 <= clip ? 1.0 : clip / (n + 1e-6); };
  return unary_samples([clip](const Tensor& x) { return clip_factor(x, clip); }, reference,
                       [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed, 0, 2); });
}

const OpRegistration registration{{
    .name = "clip_factor",
    .source = __FILE__,
    .signature = "clip_factor(norm, clip)",
    .summary = "min(1, clip / (norm + 1e-6)): what a gradient of that norm is multiplied by; 1 where clip is 0",
    .samples =
        [] {
          std::vector<Sample> samples = samples_with(0.5);
          for (Sample& sample : samples_with(0)) {
            sample.name += ", no clipping";
            samples.push_back(std::move(sample));
          }
          const double infinity = std::numeric_limits<double>::infinity(),
                       nan = std::numeric_limits<double>::quiet_NaN();
          samples.push_back({"not finite",
                             {Tensor::from_values({3}, std::vector{infinity, nan, 0.25})},
                             [](std::span<const Tensor> in) { return std::vector{clip_factor(in[0], 0.5)}; },
                             [nan](std::span<const Tensor>) {
                               return std::vector{Tensor::from_values({3}, std::vector{nan, nan, 1.0})};
                             }});
          return samples;
        },
    .large = [] { return samples_with(0.5).front(); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { clip_factor(Tensor::zeros({2}, DType::int32), 1); },
                                         "clip_factor: expected dtype float64, float32 or bf16, got int32"}};
        },
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
