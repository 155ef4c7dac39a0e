#include "ops/rms_norm.h"

#include <algorithm>
#include <cmath>

#include "autograd/backward.h"
#include "ops/add_scalar.h"
#include "ops/cast.h"
#include "ops/cpu/layer_norm.h"
#include "ops/divide.h"
#include "ops/mean.h"
#include "ops/multiply.h"
#include "ops/sqrt.h"
#include "ops/square.h"
#include "ops/support/parameters.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, double, const Tensor&, const RowStatistics&)> rms_norm_kernel{
    "rms_norm"};
constinit Kernel<void(const Tensor&, const Tensor&, const RowStatistics&, const Tensor&, const Tensor&, const Tensor&)>
    rms_norm_backward_kernel{"rms_norm backward"};

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  check_row_norm("rms_norm", x, weight, eps);
  const Tensor y = Tensor::empty_like(x);
  const RowStatistics statistics = empty_row_statistics(x);
  rms_norm_kernel(x.device(), x, weight, eps, y, statistics);
  Backward back("rms_norm", {x, weight}, {y});
  back.once_differentiable([x = back.keep(x), weight = back.keep(weight), statistics,
                            need_dx = back.needed(0)](std::span<const Tensor> dys) {
    const Tensor in = x.get(), w = weight.get(), dx = need_dx ? Tensor::empty_like(in) : Tensor(),
                 dweight = Tensor::empty_like(w);
    rms_norm_backward_kernel(in.device(), in, w, statistics, dys[0], dx, dweight);
    return std::vector{dx, dweight};
  });
  return y;
}

Tensor rms_norm_composed(const Tensor& x, const Tensor& weight, double eps) {
  check_row_norm("rms_norm", x, weight, eps);
  const Tensor wide = cast(x, weight.dtype());
  const Tensor mean_square = mean(square(wide), std::vector{-1}, true);  // [..., 1]
  return cast(wide / sqrt(add_scalar(mean_square, eps)) * weight, x.dtype());
}

namespace {

void rms_norm_cpu(const Tensor& x, const Tensor& weight, double eps, const Tensor& y, const RowStatistics& statistics) {
  if (x.numel() == 0) return;
  const Tensor dense = rows_form(x);
  visit_with_parameters("rms_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(dense), out = rows_of<T>(y);
    const auto w = cpu::parameter_values<Value, P>(weight);
    RowNorm<Value>* const norms = statistics.rows<Value>();
    parallel_for(in.rows, grain_for(6 * in.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        norms[r] = cpu::normalise_row<T, Centre::zero>(in.cols, in.row(r), w.data(), nullptr, eps, out.row(r));
    });
  });
}

void rms_norm_backward_cpu(const Tensor& x, const Tensor& weight, const RowStatistics& statistics, const Tensor& dy,
                           const Tensor& dx, const Tensor& dweight) {
  if (x.numel() == 0) return fill(dweight, 0);
  const Tensor dense = rows_form(x), dy_rows = rows_form(dy);
  visit_with_parameters("rms_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(dense), d = rows_of<T>(dy_rows);
    const auto target = dx.defined() ? rows_of<T>(dx) : Rows<T>{};
    const auto w = cpu::parameter_values<Value, P>(weight);
    const RowNorm<Value>* const norms = statistics.rows<Value>();
    const auto sums = cpu::sum_of_rows<Value>(in.rows, in.cols, [&](std::int64_t r, Value* into) {
      cpu::normalise_row_backward<T, Centre::zero>(in.cols, in.row(r), d.row(r), w.data(), norms[r], nullptr,
                                                   dx.defined() ? target.row(r) : nullptr, into);
    });
    std::transform(sums.begin(), sums.end(), dweight.data<P>(), [](Value v) { return P(v); });
  });
}

const bool on_cpu = rms_norm_kernel.add(DeviceKind::cpu, rms_norm_cpu) &&
                    rms_norm_backward_kernel.add(DeviceKind::cpu, rms_norm_backward_cpu);

Tensor reference(std::span<const Tensor> in, double eps) {
  std::vector<double> y = in[0].values();
  const std::vector<double> w = in[1].values();
  const std::size_t D = w.size();
  for (std::size_t start = 0; start < y.size(); start += D) {
    long double squares = 0;
    for (std::size_t c = 0; c < D; ++c) squares += static_cast<long double>(y[start + c]) * y[start + c];
    const long double root = std::sqrt(squares / static_cast<long double>(D) + eps);
    for (std::size_t c = 0; c < D; ++c) y[start + c] = static_cast<double>(y[start + c] / root * w[c]);
  }
  return Tensor::from_values(in[0].shape(), y);
}

Sample rms_norm_sample(const std::string& name, const Shape& shape, double eps = 1e-5, double low = -1,
                       double high = 1) {
  return {name,
          {random_tensor(shape, 44, low, high), random_tensor({shape[-1]}, 45)},
          [eps](std::span<const Tensor> in) { return std::vector{rms_norm(in[0], in[1], eps)}; },
          [eps](std::span<const Tensor> in) { return std::vector{reference(in, eps)}; },
          [eps](std::span<const Tensor> in) { return std::vector{rms_norm_composed(in[0], in[1], eps)}; }};
}

const OpRegistration registration{{
    .name = "rms_norm",
    .source = __FILE__,
    .signature = "rms_norm(x, weight, eps = 1e-5)",
    .summary = "each row of x [..., D] over the root of its mean square, times weight [D], which may be float32 beside "
               "bf16",
    .samples =
        [] {
          return std::vector<Sample>{
              rms_norm_sample("usual", {4, 16}),
              rms_norm_sample("odd", {3, 5, 7}),
              rms_norm_sample("many rows", {600, 9}),
              rms_norm_sample("long row", {2, 412}),
              rms_norm_sample("large eps", {3, 6}, 0.5),
              rms_norm_sample("no eps", {3, 6}, 0),
              rms_norm_sample("far from zero", {3, 96}, 1e-5, 99.99, 100.01),
              rms_norm_sample("vector", {11}),
              rms_norm_sample("size one", {1, 1}),
              rms_norm_sample("very long row", {2, 2085}),
              rms_norm_sample("zero rows", {0, 4}),
              rms_norm_sample("zero columns", {3, 0}),
          };
        },
    .large = [] { return rms_norm_sample("large", large_shape()); },
    .bad_samples =
        [] {
          const auto call = [](const Shape& x, DType x_dtype, std::int64_t w, DType w_dtype, double eps) {
            return [=] { rms_norm(Tensor::zeros(x, x_dtype), Tensor::zeros({w}, w_dtype), eps); };
          };
          constexpr DType f32 = DType::float32;
          return std::vector<BadSample>{
              {"weight", call({2, 3}, f32, 4, f32, 1e-5), "rms_norm: expected weight of shape [3], got [4]"},
              {"rank 0", call({}, f32, 1, f32, 1e-5), "rms_norm: expected x with one axis or more, got shape []"},
              {"dtypes", call({2, 3}, f32, 3, DType::bf16, 1e-5),
               "rms_norm: expected weight of dtype float32 beside float32 activations, got bf16"},
              {"integers", call({2, 3}, DType::int32, 3, f32, 1e-5),
               "rms_norm: expected x of a floating dtype, got int32"},
              {"eps", call({2, 3}, f32, 3, f32, -1), "rms_norm: expected eps of 0 or more, got -1"},
          };
        },
}};

}  // namespace
}  // namespace weir
