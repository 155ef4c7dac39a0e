#include "ops/softmax.h"

#include <cmath>
#include <vector>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/cpu/exp_row.h"
#include "ops/cpu/math.h"
#include "ops/cpu/reduce.h"
#include "ops/multiply.h"
#include "ops/subtract.h"
#include "ops/sum.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> softmax_kernel{"softmax"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> softmax_backward_kernel{"softmax backward"};

namespace {

// dx = y (dy - sum of y dy)
Tensor softmax_backward(const Tensor& y, const Tensor& dy) {
  Tensor dx = Tensor::empty_like(y);
  softmax_backward_kernel(y.device(), y, dy, dx);
  Backward back("softmax backward", {y, dy}, {dx});
  back.input(0, [y = back.keep(y), dy = back.keep(dy)](const Tensor& ddx) {
    const std::vector<int> last{-1};
    const Tensor s = sum(y.get() * dy.get(), last, true), t = sum(y.get() * ddx, last, true);  // [.., 1]
    return ddx * (dy.get() - s) - dy.get() * t;
  });
  back.input(1, [y = back.keep(y)](const Tensor& ddx) { return softmax_backward(y.get(), ddx); });
  return dx;
}

}  // namespace

Tensor softmax(const Tensor& x) {
  check_floating("softmax", "x", x);
  normalise_axis("softmax", -1, x.rank());
  Tensor y = Tensor::empty_like(x);
  softmax_kernel(x.device(), x, y);
  Backward back("softmax", {x}, {y});
  back.input(0, [y = back.keep(y)](const Tensor& dy) { return softmax_backward(y.get(), dy); });
  return y;
}

namespace {

void softmax_cpu(const Tensor& x, const Tensor& y) {
  cpu::for_each_exp_row("softmax", x, y,
                        []<class T, class V>(const T*, T* to, cpu::ExpRow<V> row, std::span<const V> e) {
                          const V inverse = 1 / row.sum;
                          for (std::size_t c = 0; c < e.size(); ++c) to[c] = T(e[c] * inverse);
                        });
}

void softmax_backward_cpu(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  const Tensor outputs = rows_form(y), gradients = rows_form(dy);
  visit_floating("softmax", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto out = rows_of<T>(outputs), given = rows_of<T>(gradients), result = rows_of<T>(dx);
    parallel_for(out.rows, grain_for(2 * out.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* const p = out.row(r);
        const T* const d = given.row(r);
        T* const to = result.row(r);
        const Value s = cpu::sum_over<Value>(
            out.cols, [&](std::int64_t c) { return static_cast<Value>(p[c]) * static_cast<Value>(d[c]); });
        for (std::int64_t c = 0; c < out.cols; ++c)
          to[c] = T(static_cast<Value>(p[c]) * (static_cast<Value>(d[c]) - s));
      }
    });
  });
}

const bool on_cpu = softmax_kernel.add(DeviceKind::cpu, softmax_cpu) &&
                    softmax_backward_kernel.add(DeviceKind::cpu, softmax_backward_cpu);

Tensor softmax_slowly(const Tensor& x) {
  std::vector<double> y = x.values();
  const auto width = static_cast<std::size_t>(x.size(-1));
  for (std::size_t first = 0; first < y.size(); first += width) {
    double total = 0;
    for (std::size_t i = first; i < first + width; ++i) total += y[i] = std::exp(y[i]);
    for (std::size_t i = first; i < first + width; ++i) y[i] /= total;
  }
  return Tensor::from_values(x.shape(), y);
}

Sample softmax_sample(const std::string& name, const Tensor& x) {
  return {name,
          {x},
          [](std::span<const Tensor> in) { return std::vector{softmax(in[0])}; },
          [](std::span<const Tensor> in) { return std::vector{softmax_slowly(in[0])}; }};
}

// Rows with masked (-infinity) elements; the second leaves one element.
Tensor with_masks() {
  const double m = -INFINITY;
  return Tensor::from_values({3, 5}, std::vector<double>{0.5, m, 1, m, -1, m, m, 3, m, m, m, 0.25, -2, 1.5, m});
}

const OpRegistration registration{{
    .name = "softmax",
    .source = __FILE__,
    .signature = "softmax(x)",
    .summary = "e^x / (sum of e^x) over the last axis",
    .samples =
        [] {
          return std::vector<Sample>{
              softmax_sample("usual", random_tensor({4, 16}, 37, -4, 4)),
              softmax_sample("odd", random_tensor({3, 5, 7}, 38, -4, 4)),
              softmax_sample("large values", random_tensor({3, 9}, 39, -300, 300)),
              softmax_sample("one axis", random_tensor({19}, 40)),
              softmax_sample("masked", with_masks()),
              softmax_sample("size one", random_tensor({1, 1}, 41)),
              softmax_sample("zero rows", random_tensor({0, 4}, 42)),
              softmax_sample("zero columns", random_tensor({3, 0}, 43)),
              softmax_sample("long row", random_tensor({2, 4133}, 44)),
          };
        },
    .large = [] { return softmax_sample("large", random_tensor(large_shape(), 37, -4, 4)); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"rank 0", [] { softmax(Tensor::zeros({}, DType::float32)); },
                                         "softmax: axis -1 is out of range for a tensor of 0 axes"},
                                        {"integers", [] { softmax(Tensor::zeros({2}, DType::int32)); },
                                         "softmax: expected x of a floating dtype, got int32"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
