#include "ops/where_finite.h"

#include <cmath>
#include <limits>

#include "ops/cpu/elementwise.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&)> where_finite_kernel{"where_finite"};

Tensor where_finite(const Tensor& guard, const Tensor& x, const Tensor& y) {
  check_same_dtype("where_finite", x, y);
  check_same_dtype("where_finite", guard, x);
  check_shape("where_finite", "y", y, x.shape());
  if (broadcast_shapes("where_finite", guard.shape(), x.shape()) != x.shape())
    check_shape("where_finite", "guard", guard, x.shape());
  Tensor out = Tensor::empty(x.shape(), x.dtype(), x.device());
  where_finite_kernel(x.device(), guard, x, y, out);
  return out;
}

namespace {

void where_finite_cpu(const Tensor& guard, const Tensor& x, const Tensor& y, const Tensor& out) {
  visit_floating("where_finite", out.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T, T>(
        out, [](Value by, Value a, Value b) { return std::isfinite(by) ? a : b; }, guard, x, y);
  });
}

const bool on_cpu = where_finite_kernel.add(DeviceKind::cpu, where_finite_cpu);

// Every third number of the guard is none, or infinite.
Sample where_sample(const std::string& name, const Shape& shape, const Shape& guard_shape) {
  const double wrong[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                          -std::numeric_limits<double>::infinity()};
  std::vector<double> guard(static_cast<std::size_t>(guard_shape.product()));
  for (std::size_t i = 0; i < guard.size(); ++i) guard[i] = i % 3 == 1 ? wrong[i / 3 % 3] : static_cast<double>(i % 2);
  return {name,
          {Tensor::from_values(guard_shape, guard), random_tensor(shape, 61), random_tensor(shape, 62)},
          [](std::span<const Tensor> in) { return std::vector{where_finite(in[0], in[1], in[2])}; },
          [](std::span<const Tensor> in) {
            const std::vector<double> by = in[0].values(), a = in[1].values(), b = in[2].values();
            std::vector<double> out(a.size());  // the guard's shape is that of the last axes, or one element
            for (std::size_t i = 0; i < out.size(); ++i)
              out[i] = by[i % by.size()] - by[i % by.size()] == 0 ? a[i] : b[i];
            return std::vector{Tensor::from_values(in[1].shape(), out)};
          }};
}

const OpRegistration registration{{
    .name = "where_finite",
    .source = __FILE__,
    .signature = "where_finite(guard, x, y)",
    .summary = "x where guard is finite, y elsewhere; guard broadcasts",
    .samples =
        [] {
          return std::vector<Sample>{where_sample("usual", {4, 7}, {4, 7}),   where_sample("a row", {5, 9}, {9}),
                                     where_sample("one element", {3, 5}, {}), where_sample("size one", {1}, {1}),
                                     where_sample("nothing", {0, 3}, {3}),    where_sample("odd", {17}, {17})};
        },
    .large = [] { return where_sample("large", large_shape(), {}); },
    .bad_samples =
        [] {
          const auto call = [](const Shape& guard, const Shape& y, DType dtype) {
            return [=] {
              where_finite(Tensor::zeros(guard, DType::float32), Tensor::zeros({2, 3}, DType::float32),
                           Tensor::zeros(y, dtype));
            };
          };
          return std::vector<BadSample>{
              {"shape", call({}, {3}, DType::float32), "where_finite: expected y of shape [2, 3], got [3]"},
              {"guard", call({4, 2, 3}, {2, 3}, DType::float32), "where_finite: expected guard of shape [2, 3]"},
              {"dtype", call({}, {2, 3}, DType::float64), "where_finite"}};
        },
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
