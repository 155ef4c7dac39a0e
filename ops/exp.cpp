#include "ops/exp.h"

#include <cmath>

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/math.h"
#include "ops/multiply.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> exp_kernel{"exp"};

Tensor exp(const Tensor& x) {
  Tensor y = Tensor::empty_like(x);
  exp_kernel(x.device(), x, y);
  Backward back("exp", {x}, {y});
  back.input(0, [y = back.keep(y)](const Tensor& dy) { return dy * y.get(); });
  return y;
}

namespace {

void exp_cpu(const Tensor& x, const Tensor& y) {
  visit_floating("exp", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        y, [](Value v) { return cpu::exp(v); }, x);
  });
}

const bool on_cpu = exp_kernel.add(DeviceKind::cpu, exp_cpu);

const OpRegistration registration{{
    .name = "exp",
    .source = __FILE__,
    .signature = "exp(x)",
    .summary = "e^x, element by element",
    .samples =
        [] {
          return unary_samples(
              weir::exp, [](double v) { return std::exp(v); },
              [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed); });
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { weir::exp(Tensor::zeros({2}, DType::int32)); },
                                         "exp: expected dtype float64, float32 or bf16, got int32"}};
        },
    .cost = elementwise_cost(12),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
