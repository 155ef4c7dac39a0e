#include "ops/relu.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> relu_kernel{"relu"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> relu_backward_kernel{"relu backward"};

namespace {

// dx = dy where y > 0. Linear in dy, so its own gradient is the same op again.
Tensor relu_backward(const Tensor& y, const Tensor& dy) {
  Tensor dx = Tensor::empty_like(dy);
  relu_backward_kernel(dy.device(), y, dy, dx);
  Backward back("relu backward", {dy}, {dx});
  back.input(0, [y](const Tensor& ddx) { return relu_backward(y, ddx); });
  return dx;
}

}  // namespace

Tensor relu(const Tensor& x) {
  Tensor y = Tensor::empty_like(x);
  relu_kernel(x.device(), x, y);
  Backward back("relu", {x}, {y});
  back.input(0, [y = back.keep(y)](const Tensor& dy) { return relu_backward(y.get().detach(), dy); });
  return y;
}

namespace {

void relu_cpu(const Tensor& x, const Tensor& y) {
  visit_floating("relu", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        y, [](Value v) { return v > 0 ? v : (v != v ? v : Value(0)); }, x);
  });
}

void relu_backward_cpu(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  visit_floating("relu", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T>(
        dx, [](Value out, Value d) { return out > 0 ? d : Value(0); }, y, dy);
  });
}

const bool on_cpu =
    relu_kernel.add(DeviceKind::cpu, relu_cpu) && relu_backward_kernel.add(DeviceKind::cpu, relu_backward_cpu);

const OpRegistration registration{{
    .name = "relu",
    .source = __FILE__,
    .signature = "relu(x)",
    .summary = "max(x, 0), element by element; the gradient at 0 is 0",
    .samples =
        [] {
          return unary_samples(
              relu, [](double v) { return v > 0 ? v : 0; },
              [](const Shape& shape, std::uint64_t seed) { return random_away_from_zero(shape, seed); });
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { relu(Tensor::zeros({2}, DType::int32)); },
                                         "relu: expected dtype float64, float32 or bf16, got int32"}};
        },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
