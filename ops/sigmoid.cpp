#include "ops/sigmoid.h"

#include <cmath>

#include "autograd/backward.h"
#include "ops/add_scalar.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/math.h"
#include "ops/multiply.h"
#include "ops/scale.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> sigmoid_kernel{"sigmoid"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> sigmoid_backward_kernel{"sigmoid backward"};

namespace {

// dx = dy y (1 - y).
Tensor sigmoid_backward(const Tensor& y, const Tensor& dy) {
  Tensor dx = Tensor::empty_like(dy);
  sigmoid_backward_kernel(dy.device(), y, dy, dx);
  Backward back("sigmoid backward", {y, dy}, {dx});
  back.input(0, [y = back.keep(y), dy = back.keep(dy)](const Tensor& ddx) {
    return ddx * dy.get() * add_scalar(scale(y.get(), -2), 1);
  });
  back.input(1, [y = back.keep(y)](const Tensor& ddx) { return sigmoid_backward(y.get(), ddx); });
  return dx;
}

}  // namespace

Tensor sigmoid(const Tensor& x) {
  Tensor y = Tensor::empty_like(x);
  sigmoid_kernel(x.device(), x, y);
  Backward back("sigmoid", {x}, {y});
  back.input(0, [y = back.keep(y)](const Tensor& dy) { return sigmoid_backward(y.get(), dy); });
  return y;
}

namespace {

void sigmoid_cpu(const Tensor& x, const Tensor& y) {
  visit_floating("sigmoid", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        y, [](Value v) { return cpu::sigmoid(v); }, x);
  });
}

void sigmoid_backward_cpu(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  visit_floating("sigmoid", dy.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T>(
        dx, [](Value v, Value d) { return d * v * (1 - v); }, y, dy);
  });
}

const bool on_cpu = sigmoid_kernel.add(DeviceKind::cpu, sigmoid_cpu) &&
                    sigmoid_backward_kernel.add(DeviceKind::cpu, sigmoid_backward_cpu);

const OpRegistration registration{{
    .name = "sigmoid",
    .source = __FILE__,
    .signature = "sigmoid(x)",
    .summary = "1 / (1 + e^-x), element by element",
    .samples =
        [] {
          return unary_samples(
              sigmoid, [](double v) { return 1 / (1 + std::exp(-v)); },
              [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed, -5, 5); });
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { sigmoid(Tensor::zeros({2}, DType::int32)); },
                                         "sigmoid: expected dtype float64, float32 or bf16, got int32"}};
        },
    .cost = elementwise_cost(14),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
