#include "ops/square.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> square_kernel{"square"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> square_backward_kernel{"square backward"};

namespace {

// dx = 2 x dy. Symmetric and linear in both, so its gradients are the same op again.
Tensor square_backward(const Tensor& x, const Tensor& dy) {
  Tensor dx = Tensor::empty_like(dy);
  square_backward_kernel(dy.device(), x, dy, dx);
  Backward back("square backward", {x, dy}, {dx});
  back.input(0, [dy = back.keep(dy)](const Tensor& ddx) { return square_backward(dy.get(), ddx); });
  back.input(1, [x = back.keep(x)](const Tensor& ddx) { return square_backward(x.get(), ddx); });
  return dx;
}

}  // namespace

Tensor square(const Tensor& x) {
  Tensor y = Tensor::empty_like(x);
  square_kernel(x.device(), x, y);
  Backward back("square", {x}, {y});
  back.input(0, [x = back.keep(x)](const Tensor& dy) { return square_backward(x.get(), dy); });
  return y;
}

namespace {

void square_cpu(const Tensor& x, const Tensor& y) {
  visit_floating("square", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        y, [](Value v) { return v * v; }, x);
  });
}

void square_backward_cpu(const Tensor& x, const Tensor& dy, const Tensor& dx) {
  visit_floating("square", dy.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T>(
        dx, [](Value v, Value d) { return 2 * v * d; }, x, dy);
  });
}

const bool on_cpu =
    square_kernel.add(DeviceKind::cpu, square_cpu) && square_backward_kernel.add(DeviceKind::cpu, square_backward_cpu);

const OpRegistration registration{{
    .name = "square",
    .source = __FILE__,
    .signature = "square(x)",
    .summary = "x * x, element by element",
    .samples =
        [] {
          return unary_samples(
              square, [](double v) { return v * v; },
              [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed); });
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { square(Tensor::zeros({2}, DType::int32)); },
                                         "square: expected dtype float64, float32 or bf16, got int32"}};
        },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
