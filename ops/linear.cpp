#include "ops/linear.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/backward.h"
#include "core/error.h"
#include "ops/add.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/reduce.h"
#include "ops/matmul.h"
#include "ops/multiply.h"
#include "ops/permute.h"
#include "ops/relu.h"
#include "ops/reshape.h"
#include "ops/sum.h"
#include "ops/support/check.h"
#include "ops/support/parameters.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, Activation, Float32Products, const Tensor&)>
    linear_kernel{"linear", [](const Tensor& x, const Tensor& weight, auto... rest) {
                    return product_cost({x.numel(), weight.size(0)}, x, weight, rest...);
                  }};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, Float32Products,
                      const LinearGradients&)>
    linear_backward_kernel{
        "linear backward", [](const Tensor& x, const Tensor& weight, const Tensor& y, const Tensor& dy, Float32Products,
                              const LinearGradients& wanted) {
          const int products = (wanted.dx.defined() ? 1 : 0) + (wanted.dweight.defined() ? 1 : 0);
          const std::int64_t inner = weight.defined() ? weight.size(1) : x.defined() ? x.size(-1) : 0;
          return product_cost({products, dy.numel(), inner}, x, weight, y, dy, wanted);
        }};

namespace {

void check(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_floating("linear", "x", x);
  check_rank("linear", "weight", weight, 2);
  check_parameter("linear", "weight", weight, x.dtype());
  if (x.rank() == 0 || x.size(-1) != weight.size(1))
    throw ArgumentError(fmt::format("linear: expected x with {} columns for a weight of shape {}, got shape {}",
                                    weight.size(1), weight.shape().str(), x.shape().str()));
  if (!bias.defined()) return;
  check_shape("linear", "bias", bias, {weight.size(0)});
  check_same_dtype("linear", weight, bias);
}

// dz, the gradient before the activation, in ops: dy where y > 0.
Tensor before_relu(const Tensor& y, const Tensor& dy) {
  const Tensor mask = Tensor::empty_like(y);
  relu_op.backward_kernel(y.device(), y, Tensor::full(y.shape(), 1, y.dtype(), y.device()), mask);
  return dy * mask;
}

struct Kept {
  Saved x, weight, y;
  LeafSum weight_sum;
  Shape x_shape, bias_shape;
  DType parameters;
  Activation activation;
  Float32Products products;
  bool need_dx, need_dweight, need_dbias;
};

// The gradient in ops, for those who want to differentiate it again.
std::vector<Tensor> composed_gradients(const Kept& kept, const Tensor& dy) {
  if (kept.parameters != dy.dtype())
    throw ArgumentError("linear: second derivatives need x and weight of one dtype; convert one with cast()");
  const Tensor dz = kept.activation == Activation::relu ? before_relu(kept.y.get().detach(), dy) : dy;
  const std::int64_t rows = dy.shape().without(-1).product();
  const Tensor flat = reshape(dz, {rows, dy.size(-1)});
  std::vector<Tensor> result(3);
  if (kept.need_dx) result[0] = reshape(matmul(flat, kept.weight.get(), kept.products), kept.x_shape);
  if (kept.need_dweight)
    result[1] = matmul(transpose(flat, -1, -2), reshape(kept.x.get(), {rows, kept.x_shape[-1]}), kept.products);
  if (kept.need_dbias) result[2] = sum_to_shape(flat, kept.bias_shape);
  return result;
}

std::vector<Tensor> fused_gradients(const Kept& kept, const Tensor& dy) {
  const auto fresh = [&](bool wanted, const Shape& shape, DType dtype) {
    return wanted ? Tensor::empty(shape, dtype, dy.device()) : Tensor();
  };
  const Tensor in_place = kept.weight_sum.to_overwrite(kept.parameters);
  const LinearGradients wanted{
      fresh(kept.need_dx, kept.x_shape, dy.dtype()),
      in_place.defined() ? in_place : fresh(kept.need_dweight, {dy.size(-1), kept.x_shape[-1]}, kept.parameters),
      fresh(kept.need_dbias, kept.bias_shape, kept.parameters)};
  linear_backward_kernel(dy.device(), kept.x.get(), kept.weight.get(), kept.y.get(), dy, kept.products, wanted);
  return {wanted.dx, in_place.defined() ? Tensor() : wanted.dweight, wanted.dbias};
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation,
              Float32Products products) {
  check(x, weight, bias);
  const Tensor y = Tensor::empty(x.shape().with(-1, weight.size(0)), x.dtype(), x.device());
  const Tensor used = weight.dtype() == x.dtype() ? weight : converted(weight.detach(), x.dtype());
  linear_kernel(x.device(), x, used, bias, activation, products, y);
  Backward back("linear", {x, weight, bias}, {y});
  if (!back.active()) return y;
  Kept kept{.x = back.needed(1) ? back.keep(x) : Saved(),
            .weight = back.needed(0) ? back.keep(used) : Saved(),
            .y = activation == Activation::relu ? back.keep(y) : Saved(),
            .weight_sum = back.leaf_sum(1),
            .x_shape = x.shape(),
            .bias_shape = {weight.size(0)},
            .parameters = weight.dtype(),
            .activation = activation,
            .products = products,
            .need_dx = back.needed(0),
            .need_dweight = back.needed(1),
            .need_dbias = back.needed(2)};
  back.all([kept = std::move(kept)](std::span<const Tensor> dys) {
    return gradients_enabled() ? composed_gradients(kept, dys[0]) : fused_gradients(kept, dys[0]);
  });
  return y;
}

namespace {

// y = activation(y + bias), one pass over the product.
template <class T, class P>
void finish(const Rows<T>& y, const Tensor& bias, Activation activation) {
  using Value = accumulate_t<T>;
  std::vector<Value> b(static_cast<std::size_t>(y.cols));
  if (bias.defined()) {
    const Tensor dense = rows_form(bias);
    std::transform(dense.data<P>(), dense.data<P>() + y.cols, b.begin(), [](P v) { return static_cast<Value>(v); });
  }
  const auto pass = [&](auto&& f) {
    parallel_for(y.rows, grain_for(y.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        T* const row = y.row(r);
        const Value* const add = b.data();
        for (std::int64_t c = 0; c < y.cols; ++c) row[c] = T(f(static_cast<Value>(row[c]) + add[c]));
      }
    });
  };
  if (activation == Activation::relu)
    pass(Relu{});
  else if (bias.defined())
    pass([](Value v) { return v; });
}

void linear_cpu(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation,
                Float32Products products, const Tensor& y) {
  if (y.numel() == 0) return;
  const Tensor in = rows_form(x), w = rows_form(weight);
  visit_with_parameters("linear", x.dtype(), bias.defined() ? bias.dtype() : x.dtype(),
                        [&]<class T, class P>(Type<T>, Type<P>) {
                          const auto a = rows_of<T>(in), b = rows_of<T>(w), out = rows_of<T>(y);
                          cpu::parallel_gemm<T, T>(out.rows, out.cols, a.cols, {a.data, a.stride},
                                                   {b.data, b.stride, true}, out.data, out.stride, products);
                          finish<T, P>(out, bias, activation);
                        });
}

// dz = dy where y > 0, and the sums of its columns, in one pass.
template <class T>
std::vector<accumulate_t<T>> mask_and_sum(const Rows<T>& y, const Rows<T>& dy, const Rows<T>& dz) {
  using Value = accumulate_t<T>;
  return cpu::sum_of_rows<Value>(dy.rows, dy.cols, [&](std::int64_t r, Value* sums) {
    const T *out = y.row(r), *d = dy.row(r);
    T* const target = dz.row(r);
    for (std::int64_t c = 0; c < dy.cols; ++c) {
      const Value v = static_cast<Value>(out[c]) > 0 ? static_cast<Value>(d[c]) : Value(0);
      target[c] = T(v);
      sums[c] += v;
    }
  });
}

template <class T>
std::vector<accumulate_t<T>> column_sums(const Rows<T>& dy) {
  using Value = accumulate_t<T>;
  return cpu::sum_of_rows<Value>(dy.rows, dy.cols, [&](std::int64_t r, Value* sums) {
    const T* const d = dy.row(r);
    for (std::int64_t c = 0; c < dy.cols; ++c) sums[c] += static_cast<Value>(d[c]);
  });
}

template <class T, class P>
void backward_typed(const Tensor& x, const Tensor& weight, const Tensor& y, const Tensor& dy, Float32Products products,
                    const LinearGradients& wanted) {
  std::vector<accumulate_t<T>> sums;
  const Tensor given = rows_form(dy), masked = y.defined() ? Tensor::empty_like(dy) : given;
  const auto dz = rows_of<T>(masked);
  if (y.defined())
    sums = mask_and_sum(rows_of<T>(y), rows_of<T>(given), dz);
  else if (wanted.dbias.defined())
    sums = column_sums(dz);
  if (wanted.dbias.defined())
    std::transform(sums.begin(), sums.end(), wanted.dbias.data<P>(), [](auto v) { return P(v); });
  if (wanted.dx.defined()) {
    const Tensor w_rows = rows_form(weight);
    const auto w = rows_of<T>(w_rows), dx = rows_of<T>(wanted.dx);
    cpu::parallel_gemm<T, T>(dx.rows, dx.cols, dz.cols, {dz.data, dz.stride}, {w.data, w.stride}, dx.data, dx.stride,
                             products);
  }
  if (wanted.dweight.defined()) {
    const Tensor x_rows = rows_form(x);
    const auto in = rows_of<T>(x_rows);
    const auto dw = rows_of<P>(wanted.dweight);
    cpu::parallel_gemm<T, P>(dw.rows, dw.cols, dz.rows, {dz.data, dz.stride, true}, {in.data, in.stride}, dw.data,
                             dw.stride, products);
  }
}

void linear_backward_cpu(const Tensor& x, const Tensor& weight, const Tensor& y, const Tensor& dy,
                         Float32Products products, const LinearGradients& wanted) {
  const DType parameters = wanted.dweight.defined() ? wanted.dweight.dtype()
                           : wanted.dbias.defined() ? wanted.dbias.dtype()
                                                    : dy.dtype();
  visit_with_parameters("linear", dy.dtype(), parameters, [&]<class T, class P>(Type<T>, Type<P>) {
    backward_typed<T, P>(x, weight, y, dy, products, wanted);
  });
}

const bool on_cpu =
    linear_kernel.add(DeviceKind::cpu, linear_cpu) && linear_backward_kernel.add(DeviceKind::cpu, linear_backward_cpu);

Tensor reference(std::span<const Tensor> in, Activation activation) {
  const auto x = in[0].values(), w = in[1].values(), b = in.size() > 2 ? in[2].values() : std::vector<double>();
  const auto outs = static_cast<std::size_t>(in[1].size(0)), ins = static_cast<std::size_t>(in[1].size(1));
  const Shape shape = in[0].shape().with(-1, in[1].size(0));
  std::vector<double> y(static_cast<std::size_t>(shape.product()));
  for (std::size_t i = 0; i < y.size(); ++i) {
    double sum = b.empty() ? 0 : b[i % outs];
    for (std::size_t j = 0; j < ins; ++j) sum += x[i / outs * ins + j] * w[i % outs * ins + j];
    y[i] = activation == Activation::relu ? std::max(sum, 0.0) : sum;
  }
  return Tensor::from_values(shape, y);
}

Sample linear_sample(const std::string& name, const Shape& x, std::int64_t out, bool with_bias, Activation activation,
                     Float32Products products = Float32Products::ieee) {
  std::vector<Tensor> inputs{random_factor(x, 31, products), random_factor({out, x[-1]}, 32, products)};
  if (with_bias) inputs.push_back(random_tensor({out}, 33));
  const auto composed = [activation](std::span<const Tensor> in) {
    Tensor y = matmul(in[0], transpose(in[1], 0, 1));
    if (in.size() > 2) y = y + in[2];
    return std::vector{activation == Activation::relu ? relu(y) : y};
  };
  return {name, inputs,
          [activation, products](std::span<const Tensor> in) {
            return std::vector{linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor(), activation, products)};
          },
          [activation](std::span<const Tensor> in) { return std::vector{reference(in, activation)}; },
          x.rank() > 1 ? TensorFunction(composed) : nullptr};
}

const OpRegistration registration{{
    .name = "linear",
    .source = __FILE__,
    .signature = "linear(x, weight, bias = {}, Activation = none, Float32Products = ieee)",
    .summary = "x [..., I] times weight [O, I] transposed, plus bias [O], then none or relu; parameters may be float32 "
               "beside bf16",
    .samples =
        [] {
          using enum Activation;
          return std::vector<Sample>{
              linear_sample("plain", {4, 6}, 8, false, none),
              linear_sample("bias", {2, 3, 5}, 7, true, none),
              linear_sample("relu", {5, 9}, 3, true, relu),
              linear_sample("relu without bias", {3, 4}, 5, false, relu),
              linear_sample("several tiles", {300, 33}, 129, true, none),
              linear_sample("tf32", {5, 9}, 7, true, none, Float32Products::tf32),
              linear_sample("vector", {7}, 4, true, none),
              linear_sample("size one", {1, 1}, 1, true, none),
              linear_sample("zero rows", {0, 4}, 3, true, relu),
              linear_sample("zero terms", {3, 0}, 2, true, none),
              linear_sample("zero outputs", {3, 2}, 0, true, none),
          };
        },
    .large =
        [] {
          return linear_sample("large", {2048, 1024}, 1024, true, Activation::none);
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& x, const Shape& w, DType w_dtype, const Shape& b) {
            return
                [=] { linear(Tensor::zeros(x, DType::float32), Tensor::zeros(w, w_dtype), Tensor::zeros(b, w_dtype)); };
          };
          return std::vector<BadSample>{
              {"columns", call({2, 3}, {5, 4}, DType::float32, {5}),
               "linear: expected x with 4 columns for a weight of shape [5, 4], got shape [2, 3]"},
              {"bias", call({2, 4}, {5, 4}, DType::float32, {4}), "linear: expected bias of shape [5], got [4]"},
              {"weight axes", call({2, 4}, {4}, DType::float32, {4}), "linear: expected weight with 2 axes"},
              {"dtypes", call({2, 4}, {5, 4}, DType::bf16, {5}),
               "linear: expected weight of dtype float32 beside float32 activations, got bf16"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
