#include "ops/log_softmax.h"

#include <cmath>
#include <vector>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/cpu/exp_row.h"
#include "ops/cpu/math.h"
#include "ops/cpu/reduce.h"
#include "ops/exp.h"
#include "ops/multiply.h"
#include "ops/negate.h"
#include "ops/subtract.h"
#include "ops/sum.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> log_softmax_kernel{"log_softmax"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> log_softmax_backward_kernel{"log_softmax backward"};

namespace {

// dx = dy - e^y (sum of dy)
Tensor log_softmax_backward(const Tensor& y, const Tensor& dy) {
  Tensor dx = Tensor::empty_like(y);
  log_softmax_backward_kernel(y.device(), y, dy, dx);
  Backward back("log_softmax backward", {y, dy}, {dx});
  const std::vector<int> last{-1};
  back.input(0, [y = back.keep(y), dy = back.keep(dy), last](const Tensor& ddx) {
    return negate(ddx * exp(y.get()) * sum(dy.get(), last, true));
  });
  back.input(1, [y = back.keep(y), last](const Tensor& ddx) { return ddx - sum(ddx * exp(y.get()), last, true); });
  return dx;
}

}  // namespace

Tensor log_softmax(const Tensor& x) {
  check_floating("log_softmax", "x", x);
  normalise_axis("log_softmax", -1, x.rank());
  Tensor y = Tensor::empty_like(x);
  log_softmax_kernel(x.device(), x, y);
  Backward back("log_softmax", {x}, {y});
  back.input(0, [y = back.keep(y)](const Tensor& dy) { return log_softmax_backward(y.get(), dy); });
  return y;
}

namespace {

void log_softmax_cpu(const Tensor& x, const Tensor& y) {
  cpu::for_each_exp_row("log_softmax", x, y,
                        []<class T, class V>(const T* from, T* to, cpu::ExpRow<V> row, std::span<const V> e) {
                          const V total = cpu::log(row.sum);
                          for (std::size_t c = 0; c < e.size(); ++c)
                            to[c] = T((static_cast<V>(from[c]) - row.shift) - total);
                        });
}

void log_softmax_backward_cpu(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  const Tensor outputs = rows_form(y), gradients = rows_form(dy);
  visit_floating("log_softmax", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto out = rows_of<T>(outputs), given = rows_of<T>(gradients), result = rows_of<T>(dx);
    parallel_for(out.rows, grain_for(8 * out.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* const p = out.row(r);
        const T* const d = given.row(r);
        T* const to = result.row(r);
        const Value s = cpu::sum_over<Value>(out.cols, [&](std::int64_t c) { return static_cast<Value>(d[c]); });
        for (std::int64_t c = 0; c < out.cols; ++c)
          to[c] = T(static_cast<Value>(d[c]) - cpu::exp(static_cast<Value>(p[c])) * s);
      }
    });
  });
}

const bool on_cpu = log_softmax_kernel.add(DeviceKind::cpu, log_softmax_cpu) &&
                    log_softmax_backward_kernel.add(DeviceKind::cpu, log_softmax_backward_cpu);

Tensor log_softmax_slowly(const Tensor& x) {
  std::vector<double> y = x.values();
  const auto width = static_cast<std::size_t>(x.size(-1));
  for (std::size_t first = 0; first < y.size(); first += width) {
    double total = 0;
    for (std::size_t i = first; i < first + width; ++i) total += std::exp(y[i]);
    for (std::size_t i = first; i < first + width; ++i) y[i] -= std::log(total);
  }
  return Tensor::from_values(x.shape(), y);
}

Sample log_softmax_sample(const std::string& name, const Tensor& x) {
  return {name,
          {x},
          [](std::span<const Tensor> in) { return std::vector{log_softmax(in[0])}; },
          [](std::span<const Tensor> in) { return std::vector{log_softmax_slowly(in[0])}; }};
}

const OpRegistration registration{{
    .name = "log_softmax",
    .source = __FILE__,
    .signature = "log_softmax(x)",
    .summary = "x - ln(sum of e^x) over the last axis",
    .samples =
        [] {
          return std::vector<Sample>{
              log_softmax_sample("usual", random_tensor({4, 16}, 45, -4, 4)),
              log_softmax_sample("odd", random_tensor({3, 5, 7}, 46, -4, 4)),
              log_softmax_sample("large values", random_tensor({3, 9}, 47, -300, 300)),
              log_softmax_sample("one axis", random_tensor({19}, 48)),
              log_softmax_sample("size one", random_tensor({1, 1}, 49)),
              log_softmax_sample("zero rows", random_tensor({0, 4}, 50)),
              log_softmax_sample("zero columns", random_tensor({3, 0}, 51)),
              log_softmax_sample("long row", random_tensor({2, 4133}, 52)),
          };
        },
    .large = [] { return log_softmax_sample("large", random_tensor(large_shape(), 45, -4, 4)); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"rank 0", [] { log_softmax(Tensor::zeros({}, DType::float32)); },
                                         "log_softmax: axis -1 is out of range for a tensor of 0 axes"},
                                        {"integers", [] { log_softmax(Tensor::zeros({2}, DType::int32)); },
                                         "log_softmax: expected x of a floating dtype, got int32"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
