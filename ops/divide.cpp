#include "ops/divide.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/multiply.h"
#include "ops/negate.h"
#include "ops/sum.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> divide_kernel{"divide"};

Tensor divide(const Tensor& a, const Tensor& b) {
  check_same_dtype("divide", a, b);
  Tensor y = Tensor::empty(broadcast_shapes("divide", a.shape(), b.shape()), a.dtype(), a.device());
  divide_kernel(a.device(), a, b, y);
  Backward back("divide", {a, b}, {y});
  back.input(0, [b = back.keep(b), shape = a.shape()](const Tensor& dy) { return sum_to_shape(dy / b.get(), shape); });
  back.input(1, [y = back.keep(y), b = back.keep(b), shape = b.shape()](const Tensor& dy) {
    return negate(sum_to_shape(dy * y.get() / b.get(), shape));
  });
  return y;
}

namespace {

void divide_cpu(const Tensor& a, const Tensor& b, const Tensor& y) {
  visit_floating("divide", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T>(
        y, [](Value p, Value q) { return p / q; }, a, b);
  });
}

const bool on_cpu = divide_kernel.add(DeviceKind::cpu, divide_cpu);

const OpRegistration registration{{
    .name = "divide",
    .source = __FILE__,
    .signature = "divide(a, b), a / b",
    .summary = "a / b, element by element, with broadcasting",
    .samples =
        [] {
          return binary_samples(
              divide, [](double a, double b) { return a / b; },
              [](const Shape& shape, std::uint64_t seed) { return random_away_from_zero(shape, seed, 0.5); });
        },
    .bad_samples = [] { return binary_bad_samples("divide", divide); },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
