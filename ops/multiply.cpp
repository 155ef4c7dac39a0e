#include "ops/multiply.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/sum.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> multiply_kernel{"multiply"};

Tensor multiply(const Tensor& a, const Tensor& b) {
  check_same_dtype("multiply", a, b);
  Tensor y = Tensor::empty(broadcast_shapes("multiply", a.shape(), b.shape()), a.dtype(), a.device());
  multiply_kernel(a.device(), a, b, y);
  Backward back("multiply", {a, b}, {y});
  back.input(0, [b = back.keep(b), shape = a.shape()](const Tensor& dy) { return sum_to_shape(dy * b.get(), shape); });
  back.input(1, [a = back.keep(a), shape = b.shape()](const Tensor& dy) { return sum_to_shape(dy * a.get(), shape); });
  return y;
}

namespace {

void multiply_cpu(const Tensor& a, const Tensor& b, const Tensor& y) {
  visit_floating("multiply", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T>(
        y, [](Value p, Value q) { return p * q; }, a, b);
  });
}

const bool on_cpu = multiply_kernel.add(DeviceKind::cpu, multiply_cpu);

const OpRegistration registration{{
    .name = "multiply",
    .source = __FILE__,
    .signature = "multiply(a, b), a * b",
    .summary = "a * b, element by element, with broadcasting",
    .samples =
        [] {
          return binary_samples(
              multiply, [](double a, double b) { return a * b; },
              [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed); });
        },
    .bad_samples = [] { return binary_bad_samples("multiply", multiply); },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
