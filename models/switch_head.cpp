#include "models/switch_head.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>
#include <vector>

#include "core/error.h"
#include "models/initialise.h"
#include "ops/add.h"
#include "ops/cast.h"
#include "ops/concatenate.h"
#include "ops/dropout.h"
#include "ops/gather_rows.h"
#include "ops/grouped_matmul.h"
#include "ops/linear.h"
#include "ops/multiply.h"
#include "ops/relative_attention.h"
#include "ops/reshape.h"
#include "ops/route_top_k.h"
#include "ops/scale.h"
#include "ops/scatter_add_rows.h"
#include "ops/sigmoid.h"
#include "ops/slice.h"
#include "ops/sum.h"
#include "ops/take_along.h"
#include "ops/top_k.h"

namespace weir {
namespace {

// A matrix, or as many as the first of three extents says.
const Parameter& add_matrices(ParameterSet& parameters, const std::string& name, const ModelConfig& config,
                              const Shape& shape, std::int64_t fan_in) {
  return parameters.add(name, shape, initialise::normal(config.matrix_std(fan_in)));
}

const Parameter& add_selector(ParameterSet& parameters, const std::string& name, const ModelConfig& config) {
  return parameters.add(name, {config.heads * config.attention_experts, config.d_model},
                        initialise::normalised_rows(config.matrix_std(config.d_model)));
}

Shape expert_shape(const ModelConfig& c, std::int64_t inputs, std::int64_t outputs) {
  return {c.heads * c.attention_experts, inputs, outputs};
}

}  // namespace

SwitchHead::SwitchHead(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& c)
    : layer_(layer),
      d_model_(c.d_model),
      heads_(c.heads),
      head_size_(c.head_size),
      experts_(c.attention_experts),
      k_(c.attention_k),
      expert_dropout_(c.attention_expert_dropout),
      regulariser_weight_(c.attention_regulariser_weight),
      w_q_(add_matrices(parameters, name + ".w_q", c, {heads_ * head_size_, d_model_}, d_model_)),
      w_k_(add_matrices(parameters, name + ".w_k", c, {heads_ * head_size_, d_model_}, d_model_)),
      w_r_(add_matrices(parameters, name + ".w_r", c, {heads_ * head_size_, d_model_}, d_model_)),
      w_v_(add_matrices(parameters, name + ".w_v", c,
                        experts_ > 1 ? expert_shape(c, d_model_, head_size_) : Shape{heads_ * head_size_, d_model_},
                        d_model_)),
      w_o_(add_matrices(parameters, name + ".w_o", c,
                        experts_ > 1 ? expert_shape(c, head_size_, d_model_) : Shape{d_model_, heads_ * head_size_},
                        heads_ * head_size_)),
      sel_o_(add_selector(parameters, name + ".sel_o", c)),
      sel_v_(experts_ > 1 ? &add_selector(parameters, name + ".sel_v", c) : nullptr),
      positions_(c.d_model) {
  if (k_ > experts_)
    throw ArgumentError(
        fmt::format("model.attention_k = {} is more than model.attention_experts = {}: a head cannot use more experts "
                    "than it has; lower attention_k or add experts",
                    k_, experts_));
}

AttentionOutput SwitchHead::operator()(const Tensor& x, const Tensor& values, std::int64_t queries,
                                       const ForwardContext& context) const {
  const std::int64_t batch = x.size(0), keys = x.size(1);
  const Tensor own = queries == keys ? x : slice(x, 1, keys - queries, keys);  // [B, T, D]
  if (experts_ == 1) {
    const Tensor v = reshape(linear(values, w_v_.value, context.products), {batch, keys, heads_, head_size_});
    const Tensor gate = sigmoid(linear(cast(own, sel_o_.value.dtype()), sel_o_.value, context.products));  // [B, T, H]
    const Tensor gated = attend(x, own, v, context) * cast(reshape(gate, {batch, queries, heads_, 1}), x.dtype());
    return {linear(reshape(gated, {batch, queries, heads_ * head_size_}), w_o_.value, context.products)};
  }
  const Selection of_keys = select(x, *sel_v_, RandomPlace::attention_value_mask, context);
  const Selection of_queries = select(own, sel_o_, RandomPlace::attention_output_mask, context);
  AttentionOutput out;
  out.y = output_experts(attend(x, own, value_experts(values, of_keys, context), context), of_queries, context);
  if (context.training && regulariser_weight_ > 0) {
    out.regulariser_inputs = {of_keys.logits, of_queries.logits};
    if (!context.shared_layer) out.auxiliary_loss = auxiliary_loss(std::exchange(out.regulariser_inputs, {}));
  }
  return out;
}

Tensor SwitchHead::attend(const Tensor& x, const Tensor& own, const Tensor& v, const ForwardContext& context) const {
  const std::int64_t batch = x.size(0), keys = x.size(1), queries = own.size(1);
  const auto projected = [&](const Tensor& from, const Parameter& weight, const Shape& shape) {
    return reshape(linear(from, weight.value, context.products), shape);
  };
  const Tensor q = projected(own, w_q_, {batch, queries, heads_, head_size_});
  const std::vector<Tensor> key_and_value{projected(x, w_k_, {batch, keys, heads_, 1, head_size_}),
                                          reshape(v, {batch, keys, heads_, 1, head_size_})};
  const Tensor kv = concatenate(key_and_value, 3);  // [B, S, H, 2, P]
  const Tensor r = projected(positions_(keys, x.dtype(), x.device()), w_r_, {keys, heads_, head_size_});
  const DType dtype = w_q_.value.dtype();
  const Tensor no_bias = Tensor::zeros({heads_, head_size_}, dtype, x.device());
  const Tensor scale = Tensor::full({1}, 1 / std::sqrt(static_cast<double>(head_size_)), dtype, x.device());
  return relative_attention(q, kv, r, no_bias, no_bias, scale, context.products);
}

// As in Moe, selection is on the logits. A dropped expert ranks last; where it is taken because too few are left, its
// gate is what it would be without dropout.
SwitchHead::Selection SwitchHead::select(const Tensor& x, const Parameter& selector, RandomPlace place,
                                         const ForwardContext& context) const {
  const DType dtype = selector.value.dtype();  // never bf16
  const std::int64_t rows = x.size(0) * x.size(1);
  const Tensor logits = reshape(linear(cast(x, dtype), selector.value, context.products),
                                {x.size(0), x.size(1), heads_, experts_});  // [B, n, H, E]
  Tensor ranked = logits.detach();
  if (context.training && expert_dropout_ > 0) {
    const Tensor mask =
        keep_mask(logits.shape(), expert_dropout_, context.random(place, layer_), dtype, logits.device());
    ranked = barred_last(ranked, mask);
  }
  const Tensor index = top_k(ranked, k_).indices;          // [B, n, H, K]
  const Tensor gate = take_along(sigmoid(logits), index);  // [B, n, H, K]
  return {logits, cast(reshape(gate, {rows * heads_, k_, 1}), x.dtype()),
          sort_by_expert(reshape(index, {rows, heads_, k_}), experts_)};
}

Tensor SwitchHead::value_experts(const Tensor& values, const Selection& selection,
                                 const ForwardContext& context) const {
  const std::int64_t batch = values.size(0), keys = values.size(1), rows = batch * keys * heads_;
  const ExpertOrder& order = selection.order;
  const Tensor gathered = gather_rows(reshape(values, {batch * keys, d_model_}), order.tokens);  // [rows * K, D]
  const Tensor sorted = grouped_matmul(gathered, w_v_.value, order.offsets, context.products);   // [rows * K, P]
  const Tensor pairs = reshape(scatter_add_rows(sorted, order.pairs, rows * k_), {rows, k_, head_size_});
  const std::vector<int> slots{1};
  return reshape(sum(pairs * selection.gate, slots), {batch, keys, heads_, head_size_});
}

Tensor SwitchHead::output_experts(const Tensor& attended, const Selection& selection,
                                  const ForwardContext& context) const {
  const std::int64_t batch = attended.size(0), queries = attended.size(1), rows = batch * queries * heads_;
  const ExpertOrder& order = selection.order;
  const Tensor pairs = reshape(attended, {rows, 1, head_size_}) * selection.gate;               // [rows, K, P]
  const Tensor gathered = gather_rows(reshape(pairs, {rows * k_, head_size_}), order.pairs);    // [rows * K, P]
  const Tensor sorted = grouped_matmul(gathered, w_o_.value, order.offsets, context.products);  // [rows * K, D]
  return reshape(scatter_add_rows(sorted, order.tokens, batch * queries), {batch, queries, d_model_});
}

Tensor SwitchHead::auxiliary_loss(const RegulariserInputs& inputs) const {
  if (inputs.empty()) return {};
  return weir::scale(sequence_entropy_regulariser(inputs[0]) + sequence_entropy_regulariser(inputs[1]),
                     regulariser_weight_);
}

std::int64_t SwitchHead::idle_parameters() const {
  return experts_ > 1 ? (w_v_.shape.product() + w_o_.shape.product()) / experts_ * (experts_ - k_) : 0;
}

namespace {
const bool added = registry<AttentionKind>().add(
    {"switch-head", "the same with experts for values and output", by_constructor<SwitchHead>});
}  // namespace

}  // namespace weir
