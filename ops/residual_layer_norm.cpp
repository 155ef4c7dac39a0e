#include "ops/residual_layer_norm.h"

#include <cmath>

#include "autograd/backward.h"
#include "ops/cpu/keep.h"
#include "ops/cpu/layer_norm.h"
#include "ops/dropout.h"
#include "ops/support/check.h"
#include "ops/support/parameters.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, double, const RandomStream&,
                      const ResidualLayerNorm&, const RowStatistics&)>
    residual_layer_norm_kernel{"residual_layer_norm"};
constinit Kernel<void(const Tensor&, const Tensor&, const RowStatistics&, const Tensor&, const Tensor&, double,
                      const RandomStream&, const Tensor&, const Tensor&, const Tensor&, const Tensor&)>
    residual_layer_norm_backward_kernel{"residual_layer_norm backward"};

ResidualLayerNorm residual_layer_norm(const Tensor& x, const Tensor& branch, const Tensor& weight, const Tensor& bias,
                                      double eps, double p, const RandomStream& random) {
  check_layer_norm("residual_layer_norm", x, weight, bias, eps);
  check_shape("residual_layer_norm", "branch", branch, x.shape());
  check_same_dtype("residual_layer_norm", x, branch);
  check_probability("residual_layer_norm", p);
  const ResidualLayerNorm out{Tensor::empty_like(x), Tensor::empty_like(x)};
  const RowStatistics statistics = empty_row_statistics(x);
  if (x.numel() > 0) residual_layer_norm_kernel(x.device(), x, branch, weight, bias, eps, p, random, out, statistics);
  Backward back("residual_layer_norm", {x, branch, weight, bias}, {out.sum, out.normed});
  back.once_differentiable([sum = back.keep(out.sum), weight = back.keep(weight), statistics, p, random,
                            need_dbranch = back.needed(1)](std::span<const Tensor> dys) {
    const Tensor &dsum = dys[0], &dnormed = dys[1];
    if (!dnormed.defined())
      return std::vector<Tensor>{dsum, need_dbranch ? dropout(dsum, p, random) : Tensor(), {}, {}};
    const Tensor in = sum.get(), w = weight.get(), dx = Tensor::empty_like(in), dweight = Tensor::empty_like(w),
                 dbias = Tensor::empty_like(w);
    const Tensor dbranch = need_dbranch && p > 0 ? Tensor::empty_like(in) : Tensor();
    if (in.numel() > 0) {
      residual_layer_norm_backward_kernel(in.device(), in, w, statistics, dsum, dnormed, p, random, dx, dbranch,
                                          dweight, dbias);
    } else {
      fill(dweight, 0);
      fill(dbias, 0);
    }
    return std::vector{dx, p > 0 ? dbranch : dx, dweight, dbias};
  });
  return out;
}

ResidualLayerNorm residual_layer_norm_composed(const Tensor& x, const Tensor& branch, const Tensor& weight,
                                               const Tensor& bias, double eps, double p, const RandomStream& random) {
  const Tensor sum = add_dropout(x, branch, p, random);
  return {sum, layer_norm(sum, weight, bias, eps)};
}

namespace {

void forward_cpu(const Tensor& x, const Tensor& branch, const Tensor& weight, const Tensor& bias, double eps, double p,
                 const RandomStream& random, const ResidualLayerNorm& out, const RowStatistics& statistics) {
  const Tensor dense = rows_form(x), dense_branch = rows_form(branch);
  visit_with_parameters("residual_layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    const auto base = rows_of<T>(dense), added = rows_of<T>(dense_branch), sum = rows_of<T>(out.sum),
               normed = rows_of<T>(out.normed);
    const auto w = cpu::parameter_values<Value, P>(weight), b = cpu::parameter_values<Value, P>(bias);
    const std::int64_t D = base.cols;
    RowNorm<Value>* const norms = statistics.rows<Value>();
    parallel_for(base.rows, grain_for((p > 0 ? 16 : 10) * D), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        cpu::add_dropout_row(D, static_cast<std::uint64_t>(r * D), p, random, base.row(r), added.row(r), sum.row(r));
        norms[r] = cpu::normalise_row<T>(D, sum.row(r), w.data(), b.data(), eps, normed.row(r));
      }
    });
  });
}

void backward_cpu(const Tensor& sum, const Tensor& weight, const RowStatistics& statistics, const Tensor& dsum,
                  const Tensor& dnormed, double p, const RandomStream& random, const Tensor& dx, const Tensor& dbranch,
                  const Tensor& dweight, const Tensor& dbias) {
  const Tensor dense_dnormed = rows_form(dnormed), dense_dsum = dsum.defined() ? rows_form(dsum) : dsum;
  visit_with_parameters("residual_layer_norm", sum.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(sum), d = rows_of<T>(dense_dnormed), to_x = rows_of<T>(dx);
    const auto straight = dsum.defined() ? rows_of<T>(dense_dsum) : Rows<T>{};
    const auto to_branch = dbranch.defined() ? rows_of<T>(dbranch) : Rows<T>{};
    const auto w = cpu::parameter_values<Value, P>(weight);
    const std::int64_t D = in.cols;
    const RowNorm<Value>* const norms = statistics.rows<Value>();
    const auto sums = cpu::sum_of_rows<Value>(in.rows, 2 * D, [&](std::int64_t r, Value* into) {
      cpu::normalise_row_backward<T>(D, in.row(r), d.row(r), w.data(), norms[r],
                                     dsum.defined() ? straight.row(r) : nullptr, to_x.row(r), into);
      if (dbranch.defined())
        cpu::dropout_row(D, static_cast<std::uint64_t>(r * D), p, random, to_x.row(r), to_branch.row(r));
    });
    cpu::store_parameter_gradients<P>(sums, dweight, dbias);
  });
}

const bool on_cpu = residual_layer_norm_kernel.add(DeviceKind::cpu, forward_cpu) &&
                    residual_layer_norm_backward_kernel.add(DeviceKind::cpu, backward_cpu);

std::vector<Tensor> reference(std::span<const Tensor> in, double eps, double p, const RandomStream& random) {
  std::vector<double> sum = in[0].values();
  const std::vector<double> branch = in[1].values(), w = in[2].values(), b = in[3].values();
  for (std::size_t i = 0; i < sum.size(); ++i)
    if (static_cast<double>(random.uniform(i)) >= p) sum[i] += branch[i] / (1 - p);
  std::vector<double> normed = sum;
  const std::size_t D = w.size();
  for (std::size_t start = 0; start < sum.size(); start += D) {
    double total = 0, squares = 0;
    for (std::size_t c = 0; c < D; ++c) total += sum[start + c];
    const double mean = total / static_cast<double>(D);
    for (std::size_t c = 0; c < D; ++c) squares += std::pow(sum[start + c] - mean, 2);
    const double deviation = std::sqrt(squares / static_cast<double>(D) + eps);
    for (std::size_t c = 0; c < D; ++c) normed[start + c] = (sum[start + c] - mean) / deviation * w[c] + b[c];
  }
  return {Tensor::from_values(in[0].shape(), sum), Tensor::from_values(in[0].shape(), normed)};
}

Sample residual_sample(const std::string& name, const Shape& shape, double p, double eps = 1e-5) {
  const RandomStream random{0xfedcba9876543210u, 3, 17};
  return {name,
          {random_tensor(shape, 81), random_tensor(shape, 82), random_tensor({shape[-1]}, 83),
           random_tensor({shape[-1]}, 84)},
          [=](std::span<const Tensor> in) {
            const auto out = residual_layer_norm(in[0], in[1], in[2], in[3], eps, p, random);
            return std::vector{out.sum, out.normed};
          },
          [=](std::span<const Tensor> in) { return reference(in, eps, p, random); },
          [=](std::span<const Tensor> in) {
            const auto out = residual_layer_norm_composed(in[0], in[1], in[2], in[3], eps, p, random);
            return std::vector{out.sum, out.normed};
          }};
}

const OpRegistration registration{{
    .name = "residual_layer_norm",
    .source = __FILE__,
    .signature = "residual_layer_norm(x, branch, weight, bias, eps, p, random)",
    .summary = "sum = x + dropout(branch), all [..., D], and layer_norm(sum), in one pass; parameters may be float32 "
               "beside bf16",
    .samples =
        [] {
          return std::vector<Sample>{
              residual_sample("usual", {4, 16}, 0.3),         residual_sample("odd", {3, 5, 7}, 0.3),
              residual_sample("nothing dropped", {3, 40}, 0), residual_sample("many rows", {600, 9}, 0.1),
              residual_sample("long row", {2, 412}, 0.1),     residual_sample("very long row", {2, 2085}, 0.5),
              residual_sample("large eps", {3, 6}, 0.2, 0.5), residual_sample("vector", {11}, 0.4),
              residual_sample("size one", {1, 1}, 0),         residual_sample("zero rows", {0, 4}, 0.3),
              residual_sample("zero columns", {3, 0}, 0.3),
          };
        },
    .large = [] { return residual_sample("large", large_shape(), 0.1); },
    .bad_samples =
        [] {
          const auto call = [](const Shape& branch, DType dtype, std::int64_t w, double p) {
            return [=] {
              const Tensor x = Tensor::zeros({2, 3}, DType::bf16), weight = Tensor::zeros({w}, DType::float32);
              residual_layer_norm(x, Tensor::zeros(branch, dtype), weight, weight, 1e-5, p, {});
            };
          };
          return std::vector<BadSample>{
              {"branch", call({3}, DType::bf16, 3, 0), "residual_layer_norm: expected branch of shape [2, 3], got [3]"},
              {"dtypes", call({2, 3}, DType::float32, 3, 0), "residual_layer_norm: expected one dtype on both sides"},
              {"weight", call({2, 3}, DType::bf16, 4, 0), "residual_layer_norm: expected weight of shape [3], got [4]"},
              {"p", call({2, 3}, DType::bf16, 3, 1), "residual_layer_norm: expected a probability p of 0 or more"},
          };
        },
}};

}  // namespace
}  // namespace weir
