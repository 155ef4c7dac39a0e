#include "ops/subtract.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/negate.h"
#include "ops/sum.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> subtract_kernel{"subtract"};

Tensor subtract(const Tensor& a, const Tensor& b) {
  check_same_dtype("subtract", a, b);
  Tensor y = Tensor::empty(broadcast_shapes("subtract", a.shape(), b.shape()), a.dtype(), a.device());
  subtract_kernel(a.device(), a, b, y);
  Backward back("subtract", {a, b}, {y});
  back.input(0, [shape = a.shape()](const Tensor& dy) { return sum_to_shape(dy, shape); });
  back.input(1, [shape = b.shape()](const Tensor& dy) { return negate(sum_to_shape(dy, shape)); });
  return y;
}

namespace {

void subtract_cpu(const Tensor& a, const Tensor& b, const Tensor& y) {
  visit_floating("subtract", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T>(
        y, [](Value p, Value q) { return p - q; }, a, b);
  });
}

const bool on_cpu = subtract_kernel.add(DeviceKind::cpu, subtract_cpu);

const OpRegistration registration{{
    .name = "subtract",
    .source = __FILE__,
    .signature = "subtract(a, b), a - b",
    .summary = "a - b, element by element, with broadcasting",
    .samples =
        [] {
          return binary_samples(
              subtract, [](double a, double b) { return a - b; },
              [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed); });
        },
    .bad_samples = [] { return binary_bad_samples("subtract", subtract); },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
