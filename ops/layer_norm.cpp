#include "ops/layer_norm.h"

#include <fmt/format.h>

#include <cmath>

#include "autograd/backward.h"
#include "core/error.h"
#include "ops/cpu/layer_norm.h"
#include "ops/support/check.h"
#include "ops/support/parameters.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, double, const Tensor&, const RowStatistics&)>
    layer_norm_kernel{"layer_norm"};
constinit Kernel<void(const Tensor&, const Tensor&, const RowStatistics&, const Tensor&, const Tensor&, const Tensor&,
                      const Tensor&)>
    layer_norm_backward_kernel{"layer_norm backward"};

RowStatistics empty_row_statistics(const Tensor& x) {
  const DType precise = accumulate_dtype(x.dtype());
  return {Tensor::empty(Shape{x.shape().without(-1).product() * 4}, precise, x.device())};
}

void check_row_norm(const char* op, const Tensor& x, const Tensor& weight, double eps) {
  check_floating(op, "x", x);
  if (x.rank() == 0) throw ArgumentError(fmt::format("{}: expected x with one axis or more, got shape []", op));
  check_shape(op, "weight", weight, {x.size(-1)});
  check_parameter(op, "weight", weight, x.dtype());
  if (!(eps >= 0) || !std::isfinite(eps))
    throw ArgumentError(fmt::format("{}: expected eps of 0 or more, got {}", op, eps));
}

void check_layer_norm(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check_row_norm(op, x, weight, eps);
  check_shape(op, "bias", bias, {x.size(-1)});
  check_same_dtype(op, weight, bias);
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check_layer_norm("layer_norm", x, weight, bias, eps);
  const Tensor y = Tensor::empty_like(x);
  const RowStatistics statistics = empty_row_statistics(x);
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

void layer_norm_cpu(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, const Tensor& y,
                    const RowStatistics& statistics) {
  if (x.numel() == 0) return;
  const Tensor dense = rows_form(x);
  visit_with_parameters("layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(dense), out = rows_of<T>(y);
    const auto w = cpu::parameter_values<Value, P>(weight), b = cpu::parameter_values<Value, P>(bias);
    RowNorm<Value>* const norms = statistics.rows<Value>();
    parallel_for(in.rows, grain_for(8 * in.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        norms[r] = cpu::normalise_row<T>(in.cols, in.row(r), w.data(), b.data(), eps, out.row(r));
    });
  });
}

void layer_norm_backward_cpu(const Tensor& x, const Tensor& weight, const RowStatistics& statistics, const Tensor& dy,
                             const Tensor& dx, const Tensor& dweight, const Tensor& dbias) {
  if (x.numel() == 0) {
    fill(dweight, 0);
    fill(dbias, 0);
    return;
  }
  const Tensor dense = rows_form(x), dy_rows = rows_form(dy);
  visit_with_parameters("layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(dense), d = rows_of<T>(dy_rows);
    const auto target = dx.defined() ? rows_of<T>(dx) : Rows<T>{};
    const auto w = cpu::parameter_values<Value, P>(weight);
    const RowNorm<Value>* const norms = statistics.rows<Value>();
    const auto sums = cpu::sum_of_rows<Value>(in.rows, 2 * in.cols, [&](std::int64_t r, Value* into) {
      cpu::normalise_row_backward<T>(in.cols, in.row(r), d.row(r), w.data(), norms[r], nullptr,
                                     dx.defined() ? target.row(r) : nullptr, into);
    });
    cpu::store_parameter_gradients<P>(sums, dweight, dbias);
  });
}

const bool on_cpu = layer_norm_kernel.add(DeviceKind::cpu, layer_norm_cpu) &&
                    layer_norm_backward_kernel.add(DeviceKind::cpu, layer_norm_backward_cpu);

Tensor reference(std::span<const Tensor> in, double eps) {
  std::vector<double> y = in[0].values();
  const std::vector<double> w = in[1].values(), b = in[2].values();
  const std::size_t D = w.size();
  for (std::size_t start = 0; start < y.size(); start += D) {
    long double mean = 0, variance = 0;
    for (std::size_t c = 0; c < D; ++c) mean += y[start + c];
    mean /= static_cast<long double>(D);
    for (std::size_t c = 0; c < D; ++c) variance += (y[start + c] - mean) * (y[start + c] - mean);
    variance /= static_cast<long double>(D);
    for (std::size_t c = 0; c < D; ++c)
      y[start + c] = static_cast<double>((y[start + c] - mean) / std::sqrt(variance + eps) * w[c] + b[c]);
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
              layer_norm_sample("far from zero in deviations", {3, 96}, 1e-5, 99.99, 100.01),
              layer_norm_sample("vector", {11}),
              layer_norm_sample("size one", {1, 1}),
              layer_norm_sample("very long row", {2, 2085}),
              layer_norm_sample("zero rows", {0, 4}),
              layer_norm_sample("zero columns", {3, 0}),
          };
        },
    .large = [] { return layer_norm_sample("large", large_shape()); },
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
}};

}  // namespace
}  // namespace weir
