#include "ops/outer_sum.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/relu.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, Activation, const Tensor&)> outer_sum_kernel{"outer_sum"};
constinit Kernel<void(const Tensor&, const Tensor&, Activation, const Tensor&, const Tensor&, const Tensor&)>
    outer_sum_backward_kernel{"outer_sum backward"};

Tensor outer_sum(const Tensor& a, const Tensor& b, Activation activation) {
  check_floating("outer_sum", "a", a);
  check_same_dtype("outer_sum", a, b);
  if (a.rank() == 0 || b.rank() == 0 || a.shape().without(-1) != b.shape().without(-1))
    throw ArgumentError(fmt::format("outer_sum: expected a [.., I] and b [.., J] with equal outer axes, got {} and {}",
                                    a.shape().str(), b.shape().str()));
  const Tensor y = Tensor::empty(a.shape().with(-1, a.size(-1) * b.size(-1)), a.dtype(), a.device());
  outer_sum_kernel(a.device(), a, b, activation, y);
  Backward back("outer_sum", {a, b}, {y});
  back.once_differentiable([a = back.keep(a), b = back.keep(b), activation](std::span<const Tensor> dys) {
    const std::vector<Tensor> dxs{Tensor::empty_like(a.get()), Tensor::empty_like(b.get())};
    outer_sum_backward_kernel(dys[0].device(), a.get(), b.get(), activation, dys[0], dxs[0], dxs[1]);
    return dxs;
  });
  return y;
}

namespace {

// y = f(a[i] + b[j])
template <class T, class F>
void add_pairs(const Rows<T>& a, const Rows<T>& b, const Rows<T>& y, F&& f) {
  using Value = accumulate_t<T>;
  parallel_for(y.rows, grain_for(y.cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* const right = b.row(r);
      for (std::int64_t i = 0; i < a.cols; ++i) {
        const auto left = static_cast<Value>(a.row(r)[i]);
        T* const to = y.row(r) + i * b.cols;
        for (std::int64_t j = 0; j < b.cols; ++j) to[j] = T(f(left + static_cast<Value>(right[j])));
      }
    }
  });
}

void outer_sum_cpu(const Tensor& a, const Tensor& b, Activation activation, const Tensor& y) {
  const Tensor left = rows_form(a), right = rows_form(b);
  visit_floating("outer_sum", a.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto p = rows_of<T>(left), q = rows_of<T>(right), out = rows_of<T>(y);
    if (activation == Activation::relu)
      add_pairs(p, q, out, Relu{});
    else
      add_pairs(p, q, out, [](Value v) { return v; });
  });
}

// `passes(s)` says whether the gradient passes a pair whose sum is s.
template <class T, class Passes>
void sum_pairs(const Rows<T>& a, const Rows<T>& b, const Rows<T>& dy, const Rows<T>& da, const Rows<T>& db,
               Passes&& passes) {
  using Value = accumulate_t<T>;
  parallel_for(dy.rows, grain_for(2 * dy.cols), [&](std::int64_t begin, std::int64_t end) {
    std::vector<Value> columns(static_cast<std::size_t>(b.cols));
    for (std::int64_t r = begin; r < end; ++r) {
      std::fill(columns.begin(), columns.end(), Value(0));
      Value* const sums = columns.data();
      const T* const right = b.row(r);
      for (std::int64_t i = 0; i < a.cols; ++i) {
        const auto left = static_cast<Value>(a.row(r)[i]);
        const T* const d = dy.row(r) + i * b.cols;
        Value total = 0;
#pragma omp simd reduction(+ : total)
        for (std::int64_t j = 0; j < b.cols; ++j) {
          const Value v = passes(left + static_cast<Value>(right[j])) ? static_cast<Value>(d[j]) : Value(0);
          sums[j] += v;
          total += v;
        }
        da.row(r)[i] = T(total);
      }
      for (std::int64_t j = 0; j < b.cols; ++j) db.row(r)[j] = T(sums[j]);
    }
  });
}

void outer_sum_backward_cpu(const Tensor& a, const Tensor& b, Activation activation, const Tensor& dy, const Tensor& da,
                            const Tensor& db) {
  const Tensor left = rows_form(a), right = rows_form(b), given = rows_form(dy);
  visit_floating("outer_sum", a.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto p = rows_of<T>(left), q = rows_of<T>(right), d = rows_of<T>(given);
    const auto to_a = rows_of<T>(da), to_b = rows_of<T>(db);
    if (activation == Activation::relu)
      sum_pairs(p, q, d, to_a, to_b, [](Value s) { return s > 0; });
    else
      sum_pairs(p, q, d, to_a, to_b, [](Value) { return true; });
  });
}

const bool on_cpu = outer_sum_kernel.add(DeviceKind::cpu, outer_sum_cpu) &&
                    outer_sum_backward_kernel.add(DeviceKind::cpu, outer_sum_backward_cpu);

std::vector<Tensor> reference(std::span<const Tensor> in, Activation activation) {
  const auto a = in[0].values(), b = in[1].values();
  const auto I = static_cast<std::size_t>(in[0].size(-1)), J = static_cast<std::size_t>(in[1].size(-1));
  const Shape shape = in[0].shape().with(-1, in[0].size(-1) * in[1].size(-1));
  std::vector<double> y(static_cast<std::size_t>(shape.product()));
  for (std::size_t e = 0; e < y.size(); ++e) {
    const std::size_t row = e / (I * J);
    y[e] = a[row * I + e / J % I] + b[row * J + e % J];
    if (activation == Activation::relu) y[e] = std::max(y[e], 0.0);
  }
  return {Tensor::from_values(shape, y)};
}

Sample outer_sample(const std::string& name, const Shape& outer, std::int64_t i, std::int64_t j,
                    Activation activation = Activation::none) {
  Shape a = outer, b = outer;
  a.push_back(i);
  b.push_back(j);
  // Two grids half a step apart: no sum comes near the kink of relu.
  return {name,
          {random_on_grid(a, 81, 0), random_on_grid(b, 82, 1.0 / 16)},
          [activation](std::span<const Tensor> in) { return std::vector{outer_sum(in[0], in[1], activation)}; },
          [activation](std::span<const Tensor> in) { return reference(in, activation); }};
}

const OpRegistration registration{{
    .name = "outer_sum",
    .source = __FILE__,
    .signature = "outer_sum(a, b, Activation = none)",
    .summary = "a[..., i] + b[..., j] for every pair, at i J + j of a row of [..., I J]; then none or relu",
    .samples =
        [] {
          using enum Activation;
          return std::vector<Sample>{
              outer_sample("usual", {4}, 8, 16),           outer_sample("relu", {4}, 8, 16, relu),
              outer_sample("odd", {3, 5}, 7, 9),           outer_sample("odd relu", {3, 5}, 7, 9, relu),
              outer_sample("many rows", {90}, 46, 46),     outer_sample("wide", {2}, 3, 401, relu),
              outer_sample("no outer axis", {}, 3, 5),     outer_sample("size one", {1}, 1, 1),
              outer_sample("zero rows", {0}, 4, 3),        outer_sample("zero left", {3}, 0, 2),
              outer_sample("zero right", {3}, 2, 0, relu),
          };
        },
    .large = [] { return outer_sample("large", {1024}, 64, 64); },
    .bad_samples =
        [] {
          const auto call = [](const Shape& a, const Shape& b, DType b_dtype) {
            return [=] { outer_sum(Tensor::zeros(a, DType::float32), Tensor::zeros(b, b_dtype)); };
          };
          return std::vector<BadSample>{
              {"outer axes", call({2, 3}, {4, 3}, DType::float32),
               "outer_sum: expected a [.., I] and b [.., J] with equal outer axes, got [2, 3] and [4, 3]"},
              {"rank 0", call({}, {3}, DType::float32), "got [] and [3]"},
              {"dtypes", call({2, 3}, {2, 3}, DType::float64), "outer_sum: expected one dtype on both sides"},
              {"integers", [] { outer_sum(Tensor::zeros({2}, DType::int32), Tensor::zeros({2}, DType::int32)); },
               "outer_sum: expected a of a floating dtype, got int32"},
          };
        },
}};

}  // namespace
}  // namespace weir
