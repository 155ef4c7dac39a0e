#include "ops/sqrt.h"

#include <cmath>

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/divide.h"
#include "ops/multiply.h"
#include "ops/negate.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> sqrt_kernel{"sqrt"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> sqrt_backward_kernel{"sqrt backward"};

namespace {

// dx = dy / (2 y).
Tensor sqrt_backward(const Tensor& y, const Tensor& dy) {
  Tensor dx = Tensor::empty_like(dy);
  sqrt_backward_kernel(dy.device(), y, dy, dx);
  Backward back("sqrt backward", {y, dy}, {dx});
  back.input(0, [y = back.keep(y), dx = back.keep(dx)](const Tensor& ddx) { return negate(ddx * dx.get() / y.get()); });
  back.input(1, [y = back.keep(y)](const Tensor& ddx) { return sqrt_backward(y.get(), ddx); });
  return dx;
}

}  // namespace

Tensor sqrt(const Tensor& x) {
  Tensor y = Tensor::empty_like(x);
  sqrt_kernel(x.device(), x, y);
  Backward back("sqrt", {x}, {y});
  back.input(0, [y = back.keep(y)](const Tensor& dy) { return sqrt_backward(y.get(), dy); });
  return y;
}

namespace {

void sqrt_cpu(const Tensor& x, const Tensor& y) {
  visit_floating("sqrt", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        y, [](Value v) { return std::sqrt(v); }, x);
  });
}

void sqrt_backward_cpu(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  visit_floating("sqrt", dy.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T>(
        dx, [](Value v, Value d) { return d / (2 * v); }, y, dy);
  });
}

const bool on_cpu =
    sqrt_kernel.add(DeviceKind::cpu, sqrt_cpu) && sqrt_backward_kernel.add(DeviceKind::cpu, sqrt_backward_cpu);

const OpRegistration registration{{
    .name = "sqrt",
    .source = __FILE__,
    .signature = "sqrt(x)",
    .summary = "the square root, element by element",
    .samples =
        [] {
          return unary_samples(
              weir::sqrt, [](double v) { return std::sqrt(v); },
              [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed, 0.25, 4); });
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { weir::sqrt(Tensor::zeros({2}, DType::int32)); },
                                         "sqrt: expected dtype float64, float32 or bf16, got int32"}};
        },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
