#include "ops/add.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/sum.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> add_kernel{"add"};

Tensor add(const Tensor& a, const Tensor& b) {
  check_same_dtype("add", a, b);
  Tensor y = Tensor::empty(broadcast_shapes("add", a.shape(), b.shape()), a.dtype(), a.device());
  add_kernel(a.device(), a, b, y);
  Backward back("add", {a, b}, {y});
  back.input(0, [shape = a.shape()](const Tensor& dy) { return sum_to_shape(dy, shape); });
  back.input(1, [shape = b.shape()](const Tensor& dy) { return sum_to_shape(dy, shape); });
  return y;
}

namespace {

void add_cpu(const Tensor& a, const Tensor& b, const Tensor& y) {
  visit_floating("add", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T>(
        y, [](Value p, Value q) { return p + q; }, a, b);
  });
}

const bool on_cpu = add_kernel.add(DeviceKind::cpu, add_cpu);

const OpRegistration registration{{
    .name = "add",
    .source = __FILE__,
    .signature = "add(a, b), a + b",
    .summary = "a + b, element by element, with broadcasting",
    .samples =
        [] {
          return binary_samples(
              add, [](double a, double b) { return a + b; },
              [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed); });
        },
    .bad_samples = [] { return binary_bad_samples("add", add); },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
