#include "ops/log.h"

#include <cmath>

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/math.h"
#include "ops/divide.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> log_kernel{"log"};

Tensor log(const Tensor& x) {
  Tensor y = Tensor::empty_like(x);
  log_kernel(x.device(), x, y);
  Backward back("log", {x}, {y});
  back.input(0, [x = back.keep(x)](const Tensor& dy) { return dy / x.get(); });
  return y;
}

namespace {

void log_cpu(const Tensor& x, const Tensor& y) {
  visit_floating("log", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        y, [](Value v) { return cpu::log(v); }, x);
  });
}

const bool on_cpu = log_kernel.add(DeviceKind::cpu, log_cpu);

const OpRegistration registration{{
    .name = "log",
    .source = __FILE__,
    .signature = "log(x)",
    .summary = "ln x, element by element",
    .samples =
        [] {
          return unary_samples(
              weir::log, [](double v) { return std::log(v); },
              [](const Shape& shape, std::uint64_t seed) { return random_tensor(shape, seed, 0.25, 4); });
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { weir::log(Tensor::zeros({2}, DType::int32)); },
                                         "log: expected dtype float64, float32 or bf16, got int32"}};
        },
    .cost = elementwise_cost(14),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
