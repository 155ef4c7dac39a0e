#include "ops/logsumexp.h"

#include <cmath>
#include <limits>
#include <vector>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/cpu/exp_row.h"
#include "ops/cpu/math.h"
#include "ops/cpu/reduce.h"
#include "ops/multiply.h"
#include "ops/negate.h"
#include "ops/permute.h"
#include "ops/reshape.h"
#include "ops/sum.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> logsumexp_kernel{"logsumexp"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&)> logsumexp_backward_kernel{
    "logsumexp backward"};

namespace {

// dx = dy e^(x - y), or its limit (ops/logsumexp.h). x, dx: [.., E]; y, dy: [.., 1].
Tensor logsumexp_backward(const Tensor& x, const Tensor& y, const Tensor& dy) {
  Tensor dx = Tensor::empty_like(x);
  logsumexp_backward_kernel(x.device(), x, y, dy, dx);
  Backward back("logsumexp backward", {x, y, dy}, {dx});
  const std::vector<int> last{-1};
  back.input(0, [dx = back.keep(dx)](const Tensor& ddx) { return ddx * dx.get(); });
  back.input(1, [dx = back.keep(dx), last](const Tensor& ddx) { return negate(sum(ddx * dx.get(), last, true)); });
  back.input(2, [x = back.keep(x), y = back.keep(y), last](const Tensor& ddx) {
    const Tensor of_one = Tensor::full(y.get().shape(), 1, y.get().dtype(), y.get().device());
    return sum(ddx * logsumexp_backward(x.get(), y.get(), of_one), last, true);
  });
  return dx;
}

// x: [.., E] -> [.., 1]
Tensor logsumexp_last(const Tensor& x) {
  const Shape shape = x.shape().with(-1, 1);
  const Tensor y = reshaped(Tensor::empty({shape.product()}, x.dtype(), x.device()), shape);  // dense: rows of one
  logsumexp_kernel(x.device(), x, y);
  Backward back("logsumexp", {x}, {y});
  back.input(
      0, [x = back.keep(x), y = back.keep(y)](const Tensor& dy) { return logsumexp_backward(x.get(), y.get(), dy); });
  return y;
}

}  // namespace

Tensor logsumexp(const Tensor& x, int axis, bool keep_axis) {
  check_floating("logsumexp", "x", x);
  axis = normalise_axis("logsumexp", axis, x.rank());
  const Tensor y = transpose(logsumexp_last(transpose(x, axis, -1)), axis, -1);
  return keep_axis ? y : reshape(y, x.shape().without(axis));
}

namespace {

void logsumexp_cpu(const Tensor& x, const Tensor& y) {
  cpu::for_each_exp_row("logsumexp", x, y,
                        []<class T, class V>(const T*, T* to, cpu::ExpRow<V> row, std::span<const V>) {
                          to[0] = T(row.shift + cpu::log(row.sum));
                        });
}

// Of one row whose sum is infinite.
template <class T, class Value>
void share_between_infinities(const T* row, std::int64_t cols, Value factor, T* to) {
  const auto is_infinity = [row](std::int64_t c) {
    return static_cast<Value>(row[c]) == std::numeric_limits<Value>::infinity();
  };
  const Value count = cpu::sum_over<Value>(cols, [&](std::int64_t c) { return Value(is_infinity(c)); });
  for (std::int64_t c = 0; c < cols; ++c) to[c] = T(is_infinity(c) ? factor / count : Value(0));
}

void logsumexp_backward_cpu(const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& dx) {
  const Tensor from = rows_form(x), sums = rows_form(y), factors = rows_form(dy);
  visit_floating("logsumexp", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(from), sum_rows = rows_of<T>(sums), factor_rows = rows_of<T>(factors);
    const auto out = rows_of<T>(dx);
    parallel_for(in.rows, grain_for(8 * in.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* const row = in.row(r);
        T* const to = out.row(r);
        const Value total = sum_rows.row(r)[0], factor = factor_rows.row(r)[0];
        if (std::isinf(total))
          share_between_infinities(row, in.cols, factor, to);
        else
          for (std::int64_t c = 0; c < in.cols; ++c) to[c] = T(factor * cpu::exp(static_cast<Value>(row[c]) - total));
      }
    });
  });
}

const bool on_cpu = logsumexp_kernel.add(DeviceKind::cpu, logsumexp_cpu) &&
                    logsumexp_backward_kernel.add(DeviceKind::cpu, logsumexp_backward_cpu);

Sample logsumexp_sample(const std::string& name, const Shape& shape, int axis, bool keep_axis, double range = 3) {
  return {name,
          {random_tensor(shape, 36, -range, range)},
          [=](std::span<const Tensor> in) { return std::vector{logsumexp(in[0], axis, keep_axis)}; },
          [=](std::span<const Tensor> in) {
            const int a = (axis + in[0].rank()) % in[0].rank();
            const std::vector<double> x = in[0].values();
            const Shape with_one = in[0].shape().with(a, 1);
            std::vector<double> y(static_cast<std::size_t>(with_one.product()));
            std::int64_t inner = 1;
            for (int i = in[0].rank() - 1; i > a; --i) inner *= in[0].size(i);
            for (std::size_t i = 0; i < x.size(); ++i) {
              const std::int64_t flat = static_cast<std::int64_t>(i);
              y[static_cast<std::size_t>(flat / (inner * in[0].size(a)) * inner + flat % inner)] += std::exp(x[i]);
            }
            for (double& v : y) v = std::log(v);
            return std::vector{Tensor::from_values(keep_axis ? with_one : with_one.without(a), y)};
          }};
}

Sample with_masks() {
  Sample sample = logsumexp_sample("masked", {3, 5}, 1, true);
  const double m = -INFINITY;
  sample.inputs = {
      Tensor::from_values({3, 5}, std::vector<double>{0.5, m, 1, m, -1, m, m, 3, m, m, m, 0.25, -2, 1.5, m})};
  return sample;
}

const OpRegistration registration{{
    .name = "logsumexp",
    .source = __FILE__,
    .signature = "logsumexp(x, axis, keep_axis = false)",
    .summary = "ln(sum of e^x) along an axis",
    .samples =
        [] {
          return std::vector<Sample>{
              logsumexp_sample("rows", {4, 16}, -1, false),           logsumexp_sample("columns", {7, 5}, 0, true),
              logsumexp_sample("middle", {3, 5, 7}, 1, false),        logsumexp_sample("keep", {3, 5, 7}, 2, true),
              logsumexp_sample("large values", {3, 9}, 1, true, 300), logsumexp_sample("size one", {1, 1}, 0, false),
              logsumexp_sample("zero rows", {0, 4}, 1, true),         logsumexp_sample("empty sum", {3, 0}, 1, false),
              logsumexp_sample("long row", {2, 4133}, 1, true),       with_masks(),
          };
        },
    .large = [] { return logsumexp_sample("large", large_shape(), -1, false); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"axis", [] { logsumexp(Tensor::zeros({2}, DType::float32), 1); },
                                         "logsumexp: axis 1 is out of range for a tensor of 1 axes"},
                                        {"integers", [] { logsumexp(Tensor::zeros({2}, DType::int32), 0); },
                                         "logsumexp: expected x of a floating dtype, got int32"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
