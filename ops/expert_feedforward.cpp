#include "ops/expert_feedforward.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/backward.h"
#include "core/error.h"
#include "core/op_info.h"
#include "ops/cast.h"
#include "ops/dropout.h"
#include "ops/gather_rows.h"
#include "ops/grouped_matmul.h"
#include "ops/multiply.h"
#include "ops/relu.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/scatter_add_rows.h"
#include "ops/sort_by_expert.h"
#include "ops/support/check.h"
#include "ops/support/index.h"
#include "ops/support/parameters.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const ExpertOptions&,
                      Float32Products, const Tensor&, ExpertFeedforwardState&)>
    expert_feedforward_kernel{
        "expert_feedforward",
        [](const Tensor& x, const Tensor& gate, const Tensor& index, const Tensor& w1, const Tensor& w2, auto... rest) {
          return product_cost({2, index.numel(), w1.size(1), w1.size(2)}, x, gate, index, w1, w2, rest...);
        }};
constinit Kernel<void(const Tensor&, const Tensor&, const ExpertFeedforwardState&, const Tensor&, Float32Products,
                      ExpertFeedforwardGradients&)>
    expert_feedforward_backward_kernel{
        "expert_feedforward backward",
        [](const Tensor& x, const Tensor& gate, const ExpertFeedforwardState& state, auto... rest) {
          return product_cost({4, gate.numel(), state.w1.size(1), state.w1.size(2)}, x, gate, state, rest...);
        }};

namespace {

constexpr const char* kOp = "expert_feedforward";

void check_arguments(const Tensor& x, const Tensor& gate, const Tensor& index, const Tensor& w1, const Tensor& w2,
                     const ExpertOptions& options) {
  check_floating(kOp, "x", x);
  check_rank(kOp, "x", x, 2);
  check_rank(kOp, "gate", gate, 2);
  check_shape(kOp, "gate", gate, gate.shape().with(0, x.size(0)));
  check_int32(kOp, "index", index);
  check_shape(kOp, "index", index, gate.shape());
  check_rank(kOp, "w1", w1, 3);
  check_shape(kOp, "w1", w1, w1.shape().with(1, x.size(1)));
  check_shape(kOp, "w2", w2, {w1.size(0), w1.size(2), w1.size(1)});
  if (w1.size(0) < 1) throw ArgumentError("expert_feedforward: expected at least 1 expert, got 0");
  check_same_dtype(kOp, w1, w2);
  check_parameter(kOp, "gate", gate, x.dtype());
  check_parameter(kOp, "w1", w1, x.dtype());
  if (!(options.dropout >= 0 && options.dropout < 1))
    throw ArgumentError(
        fmt::format("expert_feedforward: expected a dropout of 0 or more and below 1, got {}", options.dropout));
  if (options.hidden_k < 0)
    throw ArgumentError(fmt::format("expert_feedforward: expected a hidden_k of 0 or more, got {}", options.hidden_k));
}

// 1 for each of gated [N K, G] that is at least the hidden_k-th largest of its token's, else 0.
Tensor largest_of_token(const Tensor& gated, const ExpertOrder& order, std::int64_t tokens, std::int64_t hidden_k) {
  const std::vector<double> value = gated.values(), token = order.tokens.values();
  const auto units = static_cast<std::size_t>(gated.size(1));
  std::vector<std::vector<double>> of_token(static_cast<std::size_t>(tokens));
  for (std::size_t i = 0; i < value.size(); ++i)
    of_token[static_cast<std::size_t>(token[i / units])].push_back(value[i]);
  for (auto& values : of_token) std::sort(values.rbegin(), values.rend());
  std::vector<double> mask(value.size());
  for (std::size_t i = 0; i < value.size(); ++i) {
    const auto& values = of_token[static_cast<std::size_t>(token[i / units])];
    mask[i] = value[i] >= values[std::min(static_cast<std::size_t>(hidden_k), values.size()) - 1] ? 1 : 0;
  }
  return Tensor::from_values(gated.shape(), mask, gated.dtype());
}

}  // namespace

Tensor expert_feedforward(const Tensor& x, const Tensor& gate, const Tensor& index, const Tensor& w1, const Tensor& w2,
                          const ExpertOptions& options, Float32Products products) {
  check_arguments(x, gate, index, w1, w2, options);
  const Tensor y = Tensor::empty_like(x);
  ExpertFeedforwardState state;
  expert_feedforward_kernel(x.device(), x, gate, index, w1, w2, options, products, y, state);
  Backward back(kOp, {x, gate, w1, w2}, {y});
  if (!back.active()) return y;
  const Saved used_w1 = back.keep(state.w1), used_w2 = back.keep(state.w2);  // the weights, or copies in x's dtype
  state.w1 = state.w2 = {};
  back.once_differentiable([x = back.keep(x), gate = back.keep(gate), used_w1, used_w2, state = std::move(state),
                            weight_dtype = w1.dtype(), products, w1_sum = back.leaf_sum(2),
                            w2_sum = back.leaf_sum(3)](std::span<const Tensor> dys) {
    const DType sums = accumulate_dtype(dys[0].dtype());
    const Tensor dw1 = w1_sum.to_overwrite(sums), dw2 = w2_sum.to_overwrite(sums);
    ExpertFeedforwardGradients d{.x = {}, .gate = {}, .w1 = dw1, .w2 = dw2};
    ExpertFeedforwardState kept = state;
    kept.w1 = used_w1.get(), kept.w2 = used_w2.get();
    expert_feedforward_backward_kernel(dys[0].device(), x.get(), gate.get(), kept, dys[0], products, d);
    return std::vector{d.x, converted(d.gate, gate.get().dtype()),
                       dw1.defined() ? Tensor() : converted(d.w1, weight_dtype),
                       dw2.defined() ? Tensor() : converted(d.w2, weight_dtype)};
  });
  return y;
}

namespace {

// The meta device's kernels make what any device's kernels make.
void forward_meta(const Tensor& x, const Tensor& gate, const Tensor& index, const Tensor& w1, const Tensor& w2,
                  const ExpertOptions&, Float32Products, const Tensor&, ExpertFeedforwardState& state) {
  const auto made = [&](const Shape& shape, DType dtype) { return Tensor::empty(shape, dtype, x.device()); };
  const std::int64_t rows = gate.numel();
  state.w1 = converted(w1.detach(), x.dtype());
  state.w2 = converted(w2.detach(), x.dtype());
  state.hidden = made({rows, w1.size(2)}, x.dtype());
  state.pair_of_row = made({rows}, DType::int32);
  state.row_of_pair = made({rows}, index.dtype());
  state.offsets = made({w1.size(0) + 1}, DType::int64);
  made({rows, x.size(1)}, x.dtype());  // each expert's results, before they are summed
}

void backward_meta(const Tensor& x, const Tensor& gate, const ExpertFeedforwardState& state, const Tensor& dy,
                   Float32Products, ExpertFeedforwardGradients& gradients) {
  const DType sums = accumulate_dtype(dy.dtype());
  gradients.x = Tensor::empty_like(x);
  gradients.gate = Tensor::empty(gate.shape(), sums, x.device());
  if (!gradients.w1.defined()) gradients.w1 = Tensor::empty(state.w1.shape(), sums, x.device());
  if (!gradients.w2.defined()) gradients.w2 = Tensor::empty(state.w2.shape(), sums, x.device());
  Tensor::empty({gate.numel(), x.size(1)}, x.dtype(), x.device());  // each expert's dx
}

const bool on_meta = expert_feedforward_kernel.add(DeviceKind::meta, forward_meta) &&
                     expert_feedforward_backward_kernel.add(DeviceKind::meta, backward_meta);

}  // namespace

Tensor expert_feedforward_composed(const Tensor& x, const Tensor& gate, const Tensor& index, const Tensor& w1,
                                   const Tensor& w2, const ExpertOptions& options, Float32Products products) {
  check_arguments(x, gate, index, w1, w2, options);
  const ExpertOrder order = sort_by_expert(index, w1.size(0));
  const Tensor hidden = relu(grouped_matmul(gather_rows(x, order.tokens), w1, order.offsets, products));  // [N K, G]
  const Tensor factors = gather_rows(reshape(cast(gate, x.dtype()), {gate.numel(), 1}), order.pairs);     // [N K, 1]
  Tensor gated = hidden * factors;                                                                        // [N K, G]
  if (options.dropout > 0) {
    const Tensor mask = keep_mask(gated.shape(), options.dropout, options.random, gated.dtype());  // by pair
    gated = gated * scale(gather_rows(mask, order.pairs), 1 / (1 - options.dropout));
  }
  if (options.hidden_k > 0) gated = gated * largest_of_token(gated, order, x.size(0), options.hidden_k);
  return scatter_add_rows(grouped_matmul(gated, w2, order.offsets, products), order.tokens, x.size(0));
}

namespace {

struct Sizes {
  std::int64_t n, d, experts, g, k;
};

std::vector<Tensor> experts_reference(std::span<const Tensor> in) {
  const std::vector<double> x = in[0].values(), gate = in[1].values(), index = in[2].values(), w1 = in[3].values(),
                            w2 = in[4].values();
  const auto d = static_cast<std::size_t>(in[0].size(1)), slots = static_cast<std::size_t>(in[1].size(1)),
             g = static_cast<std::size_t>(in[3].size(2));
  std::vector<double> y(x.size());
  for (std::size_t pair = 0; pair < gate.size(); ++pair) {
    const std::size_t n = pair / slots, e = static_cast<std::size_t>(index[pair]);
    for (std::size_t j = 0; j < g; ++j) {
      double h = 0;
      for (std::size_t i = 0; i < d; ++i) h += x[n * d + i] * w1[(e * d + i) * g + j];
      for (std::size_t i = 0; i < d; ++i) y[n * d + i] += gate[pair] * std::max(h, 0.0) * w2[(e * g + j) * d + i];
    }
  }
  return {Tensor::from_values(in[0].shape(), y)};
}

// tf32 wants an odd d up to 7: then hidden units, multiples of 1 / 256, are not 0 and fit into 11 bits. Not so once
// they are gated, which the composed form does before a product.
Sample expert_sample(const std::string& name, const Sizes& s, Float32Products products = Float32Products::ieee) {
  const TensorFunction composed = [](std::span<const Tensor> in) {
    return std::vector{expert_feedforward_composed(in[0], in[1], in[2], in[3], in[4])};
  };
  return {name,
          {random_factor({s.n, s.d}, 41, products), random_tensor({s.n, s.k}, 42, 0, 1),
           random_indices({s.n, s.k}, 43, s.experts, DType::int32), random_factor({s.experts, s.d, s.g}, 44, products),
           random_factor({s.experts, s.g, s.d}, 45, products)},
          [products](std::span<const Tensor> in) {
            return std::vector{expert_feedforward(in[0], in[1], in[2], in[3], in[4], {}, products)};
          },
          experts_reference,
          products == Float32Products::ieee ? composed : TensorFunction()};
}

std::vector<BadSample> expert_bad_samples() {
  const auto call = [](const Shape& w2, double expert, DType gate, DType weight) {
    return [=] {
      expert_feedforward(Tensor::zeros({2, 3}, DType::float32), Tensor::zeros({2, 2}, gate),
                         Tensor::full({2, 2}, expert, DType::int32), Tensor::zeros({4, 3, 5}, weight),
                         Tensor::zeros(w2, weight));
    };
  };
  const DType f32 = DType::float32;
  const auto options = [](const ExpertOptions& o) {
    return [o] {
      const Tensor x = Tensor::zeros({1, 1}, DType::float32), w = Tensor::zeros({1, 1, 1}, DType::float32);
      expert_feedforward(x, x, Tensor::zeros({1, 1}, DType::int32), w, w, o);
    };
  };
  return {
      {"expert", call({4, 5, 3}, 4, f32, f32), "expert_feedforward: index[0, 0] is 4, expected 0 <= index < 4"},
      {"shape", call({4, 3, 5}, 0, f32, f32), "expert_feedforward: expected w2 of shape [4, 5, 3], got [4, 3, 5]"},
      {"gate dtype", call({4, 5, 3}, 0, DType::float64, f32),
       "expected gate of dtype float32 beside float32 activations, got float64"},
      {"weight dtype", call({4, 5, 3}, 0, f32, DType::bf16),
       "expected w1 of dtype float32 beside float32 activations, got bf16"},
      {"dropout", options({.dropout = 1}), "expert_feedforward: expected a dropout of 0 or more and below 1, got 1"},
      {"hidden_k", options({.hidden_k = -1}), "expert_feedforward: expected a hidden_k of 0 or more, got -1"},
      {"index",
       [] {
         const Tensor x = Tensor::zeros({1, 1}, DType::float32), w = Tensor::zeros({1, 1, 1}, DType::float32);
         expert_feedforward(x, x, x, w, w);
       },
       "expert_feedforward: expected index of dtype int32, got float32"}};
}

const OpRegistration registration{{
    .name = "expert_feedforward",
    .source = __FILE__,
    .signature = "expert_feedforward(x, gate, index, w1, w2, options, Float32Products = ieee)",
    .summary =
        "y[n] = sum over k of gate[n, k] relu(x[n] w1[e]) w2[e], e = index[n, k]: the experts of σ-MoE, fused; as "
        "options, dropout of the gated hidden units, or the hidden_k largest of them",
    .samples =
        [] {
          return std::vector<Sample>{
              expert_sample("usual", {24, 16, 4, 8, 2}),
              expert_sample("odd", {13, 7, 5, 9, 3}),
              expert_sample("one expert", {300, 5, 1, 3, 1}),
              expert_sample("more rows than a unit", {700, 3, 2, 5, 4}),
              expert_sample("idle experts", {3, 4, 20, 5, 2}),
              expert_sample("tf32", {13, 7, 5, 9, 3}, Float32Products::tf32),
              expert_sample("tf32, several tiles", {90, 7, 2, 130, 2}, Float32Products::tf32),
              expert_sample("size one", {1, 1, 1, 1, 1}),
              expert_sample("no tokens", {0, 4, 3, 5, 2}),
              expert_sample("no slots", {4, 3, 2, 5, 0}),
          };
        },
    .large =
        [] {
          return expert_sample("large", {2048, 412, 16, 128, 4});
        },
    .bad_samples = expert_bad_samples,
    .tolerance = {.float32 = 2e-5},
}};

}  // namespace
}  // namespace weir
