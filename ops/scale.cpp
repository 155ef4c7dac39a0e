#include "ops/scale.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, double, const Tensor&)> scale_kernel{"scale"};

Tensor scale(const Tensor& x, double factor) {
  Tensor y = Tensor::empty_like(x);
  scale_kernel(x.device(), x, factor, y);
  Backward back("scale", {x}, {y});
  back.input(0, [factor](const Tensor& dy) { return scale(dy, factor); });
  return y;
}

namespace {

void scale_cpu(const Tensor& x, double factor, const Tensor& y) {
  visit_floating("scale", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        y, [constant = static_cast<Value>(factor)](Value v) { return v * constant; }, x);
  });
}

const bool on_cpu = scale_kernel.add(DeviceKind::cpu, scale_cpu);

const OpRegistration registration{{
    .name = "scale",
    .source = __FILE__,
    .signature = "scale(x, factor)",
    .summary = "x * factor, element by element; factor is a constant",
    .samples =
        [] {
          return unary_samples([](const Tensor& x) { return scale(x, -0.75); }, [](double v) { return -0.75 * v; },
                               [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed); });
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { scale(Tensor::zeros({2}, DType::int32), 2); },
                                         "scale: expected dtype float64, float32 or bf16, got int32"}};
        },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
