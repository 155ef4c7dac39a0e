#include "ops/negate.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> negate_kernel{"negate"};

Tensor negate(const Tensor& x) {
  Tensor y = Tensor::empty_like(x);
  negate_kernel(x.device(), x, y);
  Backward back("negate", {x}, {y});
  back.input(0, [](const Tensor& dy) { return negate(dy); });
  return y;
}

namespace {

void negate_cpu(const Tensor& x, const Tensor& y) {
  visit_floating("negate", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        y, [](Value v) { return -v; }, x);
  });
}

const bool on_cpu = negate_kernel.add(DeviceKind::cpu, negate_cpu);

const OpRegistration registration{{
    .name = "negate",
    .source = __FILE__,
    .signature = "negate(x), -x",
    .summary = "-x, element by element",
    .samples =
        [] {
          return unary_samples(
              negate, [](double v) { return -v; },
              [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed); });
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { negate(Tensor::zeros({2}, DType::int32)); },
                                         "negate: expected dtype float64, float32 or bf16, got int32"}};
        },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
