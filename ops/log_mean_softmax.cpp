#include "ops/log_mean_softmax.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/add_scalar.h"
#include "ops/cpu/exp_row.h"
#include "ops/cpu/math.h"
#include "ops/cpu/reduce.h"
#include "ops/log_softmax.h"
#include "ops/logsumexp.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> log_mean_softmax_kernel{"log_mean_softmax"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&)> log_mean_softmax_backward_kernel{
    "log_mean_softmax backward"};

namespace {

void check_argument(const Tensor& x) {
  check_floating("log_mean_softmax", "x", x);
  if (x.rank() < 2 || x.size(-2) < 1)
    throw ArgumentError(
        fmt::format("log_mean_softmax: expected x [..., N, E] with N of 1 or more, got shape {}", x.shape().str()));
}

}  // namespace

Tensor log_mean_softmax(const Tensor& x) {
  check_argument(x);
  const Tensor y = Tensor::empty(x.shape().without(x.rank() - 2), x.dtype(), x.device());
  log_mean_softmax_kernel(x.device(), x, y);
  Backward back("log_mean_softmax", {x}, {y});
  back.once_differentiable([x = back.keep(x), y = back.keep(y)](std::span<const Tensor> dys) {
    const Tensor in = x.get(), dx = Tensor::empty_like(in);
    log_mean_softmax_backward_kernel(in.device(), in, y.get(), dys[0], dx);
    return std::vector{dx};
  });
  return y;
}

Tensor log_mean_softmax_composed(const Tensor& x) {
  check_argument(x);
  return add_scalar(logsumexp(log_softmax(x), -2), -std::log(static_cast<double>(x.size(-2))));
}

namespace {

constexpr std::int64_t kChunk = 64;  // rows whose log-softmax is in memory at a time

// largest[c] = the larger of itself and row[c]
template <class Value>
void enlarge(Value* largest, const Value* row, std::int64_t cols) {
  for (std::int64_t c = 0; c < cols; ++c) largest[c] = row[c] > largest[c] ? row[c] : largest[c];
}

// Of each column of the log-softmax of rows begin .. end - 1: its largest value, and the sum of exp(value - shift of
// the largest). `logs` has room for one row more.
template <class T, class Value>
void column_log_sums(const Rows<T>& x, std::int64_t begin, std::int64_t end, std::vector<Value>& logs, Value* largest,
                     Value* sum) {
  const std::int64_t cols = x.cols;
  std::fill(largest, largest + cols, -std::numeric_limits<Value>::infinity());
  std::fill(sum, sum + cols, Value(0));
  Value* const shift = logs.data() + (end - begin) * cols;
  for (std::int64_t r = begin; r < end; ++r) {
    const T* const from = x.row(r);
    Value* const row = logs.data() + (r - begin) * cols;
    const cpu::ExpRow<Value> all = cpu::exp_row(from, cols, row);
    const Value total = cpu::log(all.sum);
    for (std::int64_t c = 0; c < cols; ++c) row[c] = (static_cast<Value>(from[c]) - all.shift) - total;
    enlarge(largest, row, cols);
  }
  for (std::int64_t c = 0; c < cols; ++c) shift[c] = cpu::shift_of(largest[c]);
  for (std::int64_t r = 0; r < end - begin; ++r) {
    const Value* const row = logs.data() + r * cols;
    for (std::int64_t c = 0; c < cols; ++c) sum[c] += cpu::exp(row[c] - shift[c]);
  }
}

// The logarithms of the columns' sums over all chunks, in their order. sums: [chunks, 2, E], largest values and sums of
// exponentials.
template <class Value>
std::vector<Value> join_log_sums(const Value* sums, std::int64_t chunks, std::int64_t cols) {
  std::vector<Value> shift(sums, sums + cols), total(shift.size());
  for (std::int64_t i = 1; i < chunks; ++i) enlarge(shift.data(), sums + 2 * i * cols, cols);
  for (Value& s : shift) s = cpu::shift_of(s);
  for (std::int64_t i = 0; i < chunks; ++i) {
    const Value *const largest = sums + 2 * i * cols, *const sum = largest + cols;
    for (std::size_t c = 0; c < total.size(); ++c) total[c] += sum[c] * cpu::exp(largest[c] - shift[c]);
  }
  for (std::size_t c = 0; c < total.size(); ++c) total[c] = shift[c] + cpu::log(total[c]);
  return total;
}

void log_mean_softmax_cpu(const Tensor& x, const Tensor& y) {
  const Tensor dense = rows_form(x);
  visit_floating("log_mean_softmax", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(dense), out = rows_of<T>(y);
    const std::int64_t rows = x.size(-2), cols = in.cols, chunks = (rows + kChunk - 1) / kChunk;
    std::vector<Value> sums(static_cast<std::size_t>(out.rows * chunks * 2 * cols));  // [.., chunks, 2, E]
    parallel_for(out.rows * chunks, grain_for(16 * kChunk * cols), [&](std::int64_t begin, std::int64_t end) {
      std::vector<Value> logs(static_cast<std::size_t>((kChunk + 1) * cols));
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t first = i / chunks * rows, row = first + i % chunks * kChunk;
        Value* const largest = sums.data() + i * 2 * cols;
        column_log_sums(in, row, std::min(row + kChunk, first + rows), logs, largest, largest + cols);
      }
    });
    const auto log_rows = static_cast<Value>(std::log(static_cast<double>(rows)));
    for (std::int64_t b = 0; b < out.rows; ++b) {
      const std::vector<Value> log_sums = join_log_sums(sums.data() + b * chunks * 2 * cols, chunks, cols);
      std::transform(log_sums.begin(), log_sums.end(), out.row(b), [=](Value v) { return T(v - log_rows); });
    }
  });
}

// y + ln N, for the backward pass. Where all of a column is masked, nothing flows back, as into logsumexp: +infinity
// makes e^(log-softmax - that) 0 instead of NaN.
template <class Value>
Value log_scale_of(Value y, Value log_rows) {
  constexpr Value kInfinity = std::numeric_limits<Value>::infinity();
  return y == -kInfinity ? kInfinity : y + log_rows;
}

// Of one row. log_scale: y + ln N. Both p and w, which have room for a row, are left multiplied by the sum of the row's
// exponentials.
template <class T, class Value>
void backward_row(const T* x, const Value* log_scale, const T* dy, T* dx, std::vector<Value>& p,
                  std::vector<Value>& w) {
  const auto cols = static_cast<std::int64_t>(p.size());
  const cpu::ExpRow<Value> all = cpu::exp_row(x, cols, p.data());
  for (std::size_t c = 0; c < p.size(); ++c)
    w[c] = static_cast<Value>(dy[c]) * cpu::exp((static_cast<Value>(x[c]) - all.shift) - log_scale[c]);
  const Value part = 1 / all.sum,
              sum = part * cpu::sum_over<Value>(cols, [v = w.data()](std::int64_t c) { return v[c]; });
  for (std::size_t c = 0; c < p.size(); ++c) dx[c] = T(part * (w[c] - p[c] * sum));
}

void log_mean_softmax_backward_cpu(const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& dx) {
  const Tensor dense = rows_form(x), means = rows_form(y), given = rows_form(dy);
  visit_floating("log_mean_softmax", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(dense), mean = rows_of<T>(means), d = rows_of<T>(given), out = rows_of<T>(dx);
    const std::int64_t rows = x.size(-2), cols = in.cols;
    const auto log_rows = static_cast<Value>(std::log(static_cast<double>(rows)));
    std::vector<Value> log_scales(static_cast<std::size_t>(mean.rows * cols));
    for (std::int64_t b = 0; b < mean.rows; ++b)
      std::transform(mean.row(b), mean.row(b) + cols, log_scales.data() + b * cols,
                     [=](T v) { return log_scale_of(static_cast<Value>(v), log_rows); });
    parallel_for(in.rows, grain_for(16 * cols), [&](std::int64_t begin, std::int64_t end) {
      std::vector<Value> p(static_cast<std::size_t>(cols)), w(p.size());
      for (std::int64_t r = begin; r < end; ++r)
        backward_row(in.row(r), log_scales.data() + r / rows * cols, d.row(r / rows), out.row(r), p, w);
    });
  });
}

const bool on_cpu = log_mean_softmax_kernel.add(DeviceKind::cpu, log_mean_softmax_cpu) &&
                    log_mean_softmax_backward_kernel.add(DeviceKind::cpu, log_mean_softmax_backward_cpu);

// The reference takes the mean of probabilities, and of logarithms nothing but the last.
Sample mean_sample(const std::string& name, const Shape& shape, double range = 3) {
  return {name,
          {random_tensor(shape, 41, -range, range)},
          [](std::span<const Tensor> in) { return std::vector{log_mean_softmax(in[0])}; },
          [](std::span<const Tensor> in) {
            const std::vector<double> x = in[0].values();
            const auto rows = static_cast<std::size_t>(in[0].size(-2)), cols = static_cast<std::size_t>(in[0].size(-1));
            const Shape means = in[0].shape().without(in[0].rank() - 2);
            std::vector<double> mean(static_cast<std::size_t>(means.product()));
            for (std::size_t i = 0; i < x.size(); ++i) {
              const std::size_t row = i / std::max<std::size_t>(1, cols);
              double sum = 0;
              for (std::size_t c = 0; c < cols; ++c) sum += std::exp(x[row * cols + c]);
              mean[row / rows * cols + i % cols] += std::exp(x[i]) / sum / static_cast<double>(rows);
            }
            for (double& m : mean) m = std::log(m);
            return std::vector{Tensor::from_values(means, mean)};
          },
          [](std::span<const Tensor> in) { return std::vector{log_mean_softmax_composed(in[0])}; }};
}

Sample with_masks() {
  Sample sample = mean_sample("masked", {3, 4});
  const double m = -INFINITY;
  sample.inputs = {Tensor::from_values({3, 4}, std::vector<double>{0.5, m, 1, m, -1, m, 2, 3, m, 0.25, -2, 1.5})};
  return sample;
}

const OpRegistration registration{{
    .name = "log_mean_softmax",
    .source = __FILE__,
    .signature = "log_mean_softmax(x)",
    .summary = "ln of the mean over the rows of softmax(x): [.., N, E] to [.., E]",
    .samples =
        [] {
          return std::vector<Sample>{
              mean_sample("usual", {40, 16}),
              mean_sample("sequences", {3, 70, 5}),
              mean_sample("odd", {2, 3, 5, 7}),
              mean_sample("many rows", {1031, 9}),
              mean_sample("long row", {3, 4133}),
              mean_sample("far apart", {37, 6}, 200),
              mean_sample("one row", {1, 5}),
              mean_sample("size one", {1, 1}),
              mean_sample("no batches", {0, 3, 4}),
              mean_sample("zero columns", {3, 0}),
              with_masks(),
          };
        },
    .large =
        [] {
          return mean_sample("large", {16, 512, 128});
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"one axis", [] { log_mean_softmax(Tensor::zeros({3}, DType::float32)); },
                                         "log_mean_softmax: expected x [..., N, E] with N of 1 or more, got shape [3]"},
                                        {"no rows",
                                         [] {
                                           log_mean_softmax(Tensor::zeros({0, 3}, DType::float32));
                                         },
                                         "got shape [0, 3]"},
                                        {"integers",
                                         [] {
                                           log_mean_softmax(Tensor::zeros({2, 3}, DType::int32));
                                         },
                                         "log_mean_softmax: expected x of a floating dtype, got int32"}};
        },
}};

}  // namespace
}  // namespace weir
