#include "ops/layer_norm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/backward.h"
#include "core/error.h"
#include "ops/cpu/reduce.h"
#include "ops/support/check.h"
#include "ops/support/parameters.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, double, const Tensor&, const RowStatistics&)>
    layer_norm_kernel{"layer_norm"};
constinit Kernel<void(const Tensor&, const Tensor&, const RowStatistics&, const Tensor&, const Tensor&, const Tensor&,
                      const Tensor&)>
    layer_norm_backward_kernel{"layer_norm backward"};

namespace {

void check(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check_floating("layer_norm", "x", x);
  if (x.rank() == 0) throw ArgumentError("layer_norm: expected x with one axis or more, got shape []");
  check_shape("layer_norm", "weight", weight, {x.size(-1)});
  check_shape("layer_norm", "bias", bias, {x.size(-1)});
  check_parameter("layer_norm", "weight", weight, x.dtype());
  check_same_dtype("layer_norm", weight, bias);
  if (!(eps >= 0) || !std::isfinite(eps))
    throw ArgumentError(fmt::format("layer_norm: expected eps of 0 or more, got {}", eps));
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check(x, weight, bias, eps);
  const Tensor y = Tensor::empty_like(x);
  const Shape rows{x.shape().without(-1).product()};
  const DType precise = x.dtype() == DType::float64 ? DType::float64 : DType::float32;
  const RowStatistics statistics{Tensor::empty(rows, precise, x.device()), Tensor::empty(rows, precise, x.device())};
  layer_norm_kernel(x.device(), x, weight, bias, eps, y, statistics);
  Backward back("layer_norm", {x, weight, bias}, {y});
  back.once_differentiable([x = back.keep(x), weight = back.keep(weight), statistics,
                            need_dx = back.needed(0)](std::span<const Tensor> dys) {
    const Tensor in = x.get(), w = weight.get(), dx = need_dx ? Tensor::empty_like(in) : Tensor(),
                 dweight = Tensor::empty_like(w), dbias = Tensor::empty_like(w);
    layer_norm_backward_kernel(in.device(), in, w, statistics, dys[0], dx, dweight, dbias);
    return std::vector{dx, dweight, dbias};
  });
  return y;
}

namespace {

template <class To, class From>
std::vector<To> dense(const Tensor& t) {
  const Tensor row = rows_form(t);
  const From* const data = rows_of<From>(row).data;
  std::vector<To> result(static_cast<std::size_t>(t.numel()));
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = static_cast<To>(data[i]);
  return result;
}

template <class T, class P>
void forward_typed(const Rows<T>& x, const Tensor& weight, const Tensor& bias, double eps, const Rows<T>& y,
                   accumulate_t<T>* means, accumulate_t<T>* scales) {
  using Value = accumulate_t<T>;
  const auto w_values = dense<Value, P>(weight), b_values = dense<Value, P>(bias);
  const auto D = static_cast<Value>(x.cols);
  parallel_for(x.rows, grain_for(8 * x.cols), [&](std::int64_t begin, std::int64_t end) {
    const Value *const w = w_values.data(), *const b = b_values.data();
    for (std::int64_t r = begin; r < end; ++r) {
      const T* const in = x.row(r);
      T* const out = y.row(r);
      const auto value = [in](std::int64_t c) { return static_cast<Value>(in[c]); };
      const Value mean = cpu::sum_over<Value>(x.cols, value) / D;
      // The second walk over the row finds it in cache, and does not cancel as E[x^2] - mean^2 would.
      const Value variance = cpu::sum_over<Value>(x.cols,
                                                  [&](std::int64_t c) {
                                                    const Value d = value(c) - mean;
                                                    return d * d;
                                                  }) /
                             D;
      const Value scale = 1 / std::sqrt(variance + static_cast<Value>(eps));
      for (std::int64_t c = 0; c < x.cols; ++c) out[c] = T((value(c) - mean) * scale * w[c] + b[c]);
      means[r] = mean, scales[r] = scale;
    }
  });
}

void layer_norm_cpu(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, const Tensor& y,
                    const RowStatistics& statistics) {
  const Tensor in = rows_form(x);
  visit_with_parameters("layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    if (x.numel() == 0) return;
    forward_typed<T, P>(rows_of<T>(in), weight, bias, eps, rows_of<T>(y), statistics.mean.data<Value>(),
                        statistics.scale.data<Value>());
  });
}

// With n = (x - mean) * scale and g = dy * weight:
//   dx = scale * (g - mean(g) - n * mean(g * n)),  dweight = sum of dy * n over rows,  dbias = sum of dy over rows.
// `sums` holds dweight, then dbias.
template <class T>
void backward_row(std::int64_t D, const T* x, const T* dy, const accumulate_t<T>* w, accumulate_t<T> mean,
                  accumulate_t<T> scale, T* dx, accumulate_t<T>* sums) {
  using Value = accumulate_t<T>;
  const auto n = [=](std::int64_t c) { return (static_cast<Value>(x[c]) - mean) * scale; };
  const auto g = [=](std::int64_t c) { return static_cast<Value>(dy[c]) * w[c]; };
  Value* const dbias = sums + D;
  for (std::int64_t c = 0; c < D; ++c) {
    sums[c] += static_cast<Value>(dy[c]) * n(c);
    dbias[c] += static_cast<Value>(dy[c]);
  }
  if (dx == nullptr) return;
  const Value mean_g = cpu::sum_over<Value>(D, g) / static_cast<Value>(D);
  const Value mean_gn = cpu::sum_over<Value>(D, [&](std::int64_t c) { return g(c) * n(c); }) / static_cast<Value>(D);
  for (std::int64_t c = 0; c < D; ++c) dx[c] = T(scale * (g(c) - mean_g - n(c) * mean_gn));
}

void layer_norm_backward_cpu(const Tensor& x, const Tensor& weight, const RowStatistics& statistics, const Tensor& dy,
                             const Tensor& dx, const Tensor& dweight, const Tensor& dbias) {
  const Tensor in = rows_form(x), dy_rows = rows_form(dy);
  visit_with_parameters("layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    if (x.numel() == 0) {
      fill(dweight, 0);
      fill(dbias, 0);
      return;
    }
    const auto rows = rows_of<T>(in), d = rows_of<T>(dy_rows);
    const auto target = dx.defined() ? rows_of<T>(dx) : Rows<T>{};
    const auto w = dense<Value, P>(weight);
    const Value *const means = statistics.mean.data<Value>(), *const scales = statistics.scale.data<Value>();
    const auto sums = cpu::sum_of_rows<Value>(rows.rows, 2 * rows.cols, [&](std::int64_t r, Value* into) {
      backward_row<T>(rows.cols, rows.row(r), d.row(r), w.data(), means[r], scales[r],
                      dx.defined() ? target.row(r) : nullptr, into);
    });
    const auto stored = [](Value v) { return P(v); };
    std::transform(sums.begin(), sums.begin() + rows.cols, dweight.data<P>(), stored);
    std::transform(sums.begin() + rows.cols, sums.end(), dbias.data<P>(), stored);
  });
}

const bool on_cpu = layer_norm_kernel.add(DeviceKind::cpu, layer_norm_cpu) &&
                    layer_norm_backward_kernel.add(DeviceKind::cpu, layer_norm_backward_cpu);

Tensor reference(std::span<const Tensor> in, double eps) {
  std::vector<double> y = in[0].values();
  const std::vector<double> w = in[1].values(), b = in[2].values();
  const std::size_t D = w.size();
  for (std::size_t start = 0; start < y.size(); start += D) {
    double mean = 0, variance = 0;
    for (std::size_t c = 0; c < D; ++c) mean += y[start + c];
    mean /= static_cast<double>(D);
    for (std::size_t c = 0; c < D; ++c) variance += (y[start + c] - mean) * (y[start + c] - mean);
    variance /= static_cast<double>(D);
    for (std::size_t c = 0; c < D; ++c) y[start + c] = (y[start + c] - mean) / std::sqrt(variance + eps) * w[c] + b[c];
  }
  return Tensor::from_values(in[0].shape(), y);
}

Sample layer_norm_sample(const std::string& name, const Shape& shape, double eps = 1e-5, double low = -1,
                         double high = 1) {
  return {name,
          {random_tensor(shape, 41, low, high), random_tensor({shape[-1]}, 42), random_tensor({shape[-1]}, 43)},
          [eps](std::span<const Tensor> in) { return std::vector{layer_norm(in[0], in[1], in[2], eps)}; },
          [eps](std::span<const Tensor> in) { return std::vector{reference(in, eps)}; }};
}

const OpRegistration registration{{
    .name = "layer_norm",
    .source = __FILE__,
    .signature = "layer_norm(x, weight, bias, eps = 1e-5)",
    .summary = "each row of x [..., D] minus its mean, over its standard deviation, times weight [D], plus bias [D]; "
               "parameters may be float32 beside bf16",
    .samples =
        [] {
          return std::vector<Sample>{
              layer_norm_sample("usual", {4, 16}),
              layer_norm_sample("odd", {3, 5, 7}),
              layer_norm_sample("many rows", {600, 9}),
              layer_norm_sample("long row", {2, 412}),
              layer_norm_sample("large eps", {3, 6}, 0.5),
              layer_norm_sample("far from zero", {3, 8}, 1e-5, 3, 5),
              layer_norm_sample("vector", {11}),
              layer_norm_sample("size one", {1, 1}),
              layer_norm_sample("very long row", {2, 2085}),
              layer_norm_sample("zero rows", {0, 4}),
              layer_norm_sample("zero columns", {3, 0}),
          };
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& x, std::int64_t w, DType dtype, double eps) {
            return [=] {
              layer_norm(Tensor::zeros(x, DType::float32), Tensor::zeros({w}, dtype), Tensor::zeros({w}, dtype), eps);
            };
          };
          return std::vector<BadSample>{
              {"weight", call({2, 3}, 4, DType::float32, 1e-5), "layer_norm: expected weight of shape [3], got [4]"},
              {"rank 0", call({}, 1, DType::float32, 1e-5), "layer_norm: expected x with one axis or more"},
              {"dtypes", call({2, 3}, 3, DType::float64, 1e-5),
               "layer_norm: expected weight of dtype float32 beside float32 activations, got float64"},
              {"eps", call({2, 3}, 3, DType::float32, -1), "layer_norm: expected eps of 0 or more, got -1"},
          };
        },
    .cost = elementwise_cost(8),
}};

}  // namespace
}  // namespace weir
