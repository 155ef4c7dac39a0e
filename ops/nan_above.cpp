#include "ops/nan_above.h"

#include <limits>

#include "ops/cpu/elementwise.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> nan_above_kernel{"nan_above"};

Tensor nan_above(const Tensor& x, const Tensor& limit) {
  check_same_dtype("nan_above", x, limit);
  Tensor y = Tensor::empty(broadcast_shapes("nan_above", x.shape(), limit.shape()), x.dtype(), x.device());
  nan_above_kernel(x.device(), x, limit, y);
  return y;
}

namespace {

void nan_above_cpu(const Tensor& x, const Tensor& limit, const Tensor& y) {
  visit_floating("nan_above", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T>(
        y, [](Value value, Value most) { return value <= most ? value : std::numeric_limits<Value>::quiet_NaN(); }, x,
        limit);
  });
}

const bool on_cpu = nan_above_kernel.add(DeviceKind::cpu, nan_above_cpu);

double reference(double x, double limit) { return x <= limit ? x : std::numeric_limits<double>::quiet_NaN(); }

std::vector<Sample> random_samples() {
  return binary_samples(nan_above, reference,
                        [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed); });
}

const OpRegistration registration{{
    .name = "nan_above",
    .source = __FILE__,
    .signature = "nan_above(x, limit)",
    .summary = "x where it is at most limit, not a number elsewhere, with broadcasting",
    .samples =
        [] {
          std::vector<Sample> samples = random_samples();
          const double infinity = std::numeric_limits<double>::infinity(),
                       nan = std::numeric_limits<double>::quiet_NaN();
          samples.push_back(
              {"not finite, and equal",
               {Tensor::from_values({6}, std::vector{infinity, nan, -infinity, 1.0, infinity, 1.0}),
                Tensor::from_values({6}, std::vector{1.0, 1.0, 1.0, nan, infinity, 1.0})},
               [](std::span<const Tensor> in) { return std::vector{nan_above(in[0], in[1])}; },
               [=](std::span<const Tensor>) {
                 return std::vector{Tensor::from_values({6}, std::vector{nan, nan, -infinity, nan, infinity, 1.0})};
               }});
          return samples;
        },
    .large = [] { return random_samples().front(); },
    .bad_samples = [] { return binary_bad_samples("nan_above", nan_above); },
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
