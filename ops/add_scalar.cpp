#include "ops/add_scalar.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, double, const Tensor&)> add_scalar_kernel{"add_scalar"};

Tensor add_scalar(const Tensor& x, double term) {
  Tensor y = Tensor::empty_like(x);
  add_scalar_kernel(x.device(), x, term, y);
  Backward back("add_scalar", {x}, {y});
  back.input(0, [](const Tensor& dy) { return dy; });
  return y;
}

namespace {

void add_scalar_cpu(const Tensor& x, double term, const Tensor& y) {
  visit_floating("add_scalar", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        y, [constant = static_cast<Value>(term)](Value v) { return v + constant; }, x);
  });
}

const bool on_cpu = add_scalar_kernel.add(DeviceKind::cpu, add_scalar_cpu);

const OpRegistration registration{{
    .name = "add_scalar",
    .source = __FILE__,
    .signature = "add_scalar(x, term)",
    .summary = "x + term, element by element; term is a constant",
    .samples =
        [] {
          return unary_samples([](const Tensor& x) { return add_scalar(x, -0.75); }, [](double v) { return v - 0.75; },
                               [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed); });
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { add_scalar(Tensor::zeros({2}, DType::int32), 2); },
                                         "add_scalar: expected dtype float64, float32 or bf16, got int32"}};
        },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
