#include "models/moe.h"

#include <cmath>
#include <utility>

#include "models/initialise.h"
#include "models/regulariser.h"
#include "ops/add.h"
#include "ops/add_scalar.h"
#include "ops/cast.h"
#include "ops/dropout.h"
#include "ops/expert_feedforward.h"
#include "ops/linear.h"
#include "ops/multiply.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/sigmoid.h"
#include "ops/softmax.h"
#include "ops/take_along.h"
#include "ops/top_k.h"

namespace weir {
namespace {

double fan_in_std(const ModelConfig& model, std::int64_t fan_in) {
  return std::sqrt(2.0 / static_cast<double>(model.layers * fan_in));
}

std::vector<std::int64_t> count_experts(const Tensor& index, std::int64_t experts) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(experts));
  for (double expert : index.values()) ++counts[static_cast<std::size_t>(expert)];
  return counts;
}

}  // namespace

Moe::Moe(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& model,
         const FeedforwardConfig& config)
    : layer_(layer),
      config_(config),
      router_(parameters.add(name + ".router", {config.experts, model.d_model},
                             initialise::normalised_rows(fan_in_std(model, model.d_model)))),
      w1_(parameters.add(name + ".w1", {config.experts, model.d_model, config.expert_size},
                         initialise::normal(fan_in_std(model, model.d_model)))),
      w2_(parameters.add(
          name + ".w2", {config.experts, config.expert_size, model.d_model},
          initialise::normal(fan_in_std(
              model, config.init == "standard" ? config.expert_size : config.experts * config.expert_size)))) {}

FeedforwardOutput Moe::operator()(const Tensor& x, const ForwardContext& context) const {
  return routed(x, x, context);
}

FeedforwardOutput Moe::routed(const Tensor& x, const Tensor& router_input, const ForwardContext& context) const {
  const std::int64_t batch = x.size(0), segment = x.size(1);
  const Tensor flat = reshape(x, {batch * segment, x.size(2)});                          // [N, D]
  const Tensor seen = reshape(cast(router_input, router_.value.dtype()), flat.shape());  // never in bf16
  const Tensor logits = linear(seen, router_.value);                                     // [N, E]
  const Selection chosen = select(logits, context);
  FeedforwardOutput out;
  const bool hidden_dropout = context.training && config_.dropout_experts > 0;
  const Tensor y = hidden_dropout ? expert_feedforward_composed(flat, chosen.gate, chosen.index, w1_.value, w2_.value,
                                                                config_.dropout_experts,
                                                                context.random(RandomPlace::expert_hidden, layer_))
                                  : expert_feedforward(flat, chosen.gate, chosen.index, w1_.value, w2_.value);
  out.y = reshape(y, x.shape());
  if (context.training && config_.regulariser_weight > 0 && config_.regulariser != "none") {
    out.regulariser_inputs = {reshape(logits, {batch, segment, config_.experts}),
                              reshape(chosen.index, {batch, segment, config_.k})};
    if (!context.shared_layer) out.auxiliary_loss = auxiliary_loss(std::exchange(out.regulariser_inputs, {}));
  }
  if (context.collect_statistics) out.statistics.expert_counts = count_experts(chosen.index, config_.experts);
  return out;
}

Tensor Moe::auxiliary_loss(const RegulariserInputs& inputs) const {
  if (inputs.empty()) return {};
  const Tensor &logits = inputs[0], &index = inputs[1];
  const std::int64_t tokens = logits.size(0) * logits.size(1);
  const Tensor term = config_.regulariser_scope == "sequence" ? sequence_entropy_regulariser(logits)
                                                              : regulariser(reshape(logits, {tokens, config_.experts}),
                                                                            reshape(index, {tokens, config_.k}));
  return scale(term, config_.regulariser_weight);
}

Tensor Moe::regulariser(const Tensor& logits, const Tensor& index) const {
  if (config_.regulariser == "switch") return switch_regulariser(logits, index);
  return entropy_regulariser(config_.regulariser == "entropy-selected" ? take_along(logits, index) : logits);
}

// Selects on the logits: the sigmoid is monotone, and saturated sigmoids would tie. A dropped expert ranks last, so it
// is taken only where fewer than K others are left, and then weighs nothing.
Moe::Selection Moe::select(const Tensor& logits, const ForwardContext& context) const {
  Tensor mask, ranked = logits;
  if (context.training && config_.expert_dropout > 0) {
    mask = keep_mask(logits.shape(), config_.expert_dropout, context.random(RandomPlace::expert_mask, layer_),
                     logits.dtype());
    ranked = logits + scale(add_scalar(mask, -1), 1e30);
  }
  const Tensor index = top_k(ranked.detach(), config_.k).indices;
  if (config_.gate == "softmax-after-topk") {
    const Tensor gate = softmax(take_along(ranked, index));
    return {mask.defined() ? gate * take_along(mask, index) : gate, index};
  }
  const Tensor score = config_.gate == "sigmoid" ? sigmoid(logits) : softmax(logits);
  return {take_along(mask.defined() ? score * mask : score, index), index};
}

FeedforwardCost Moe::cost() const {
  const std::int64_t experts = w1_.shape.product() + w2_.shape.product(), router = router_.shape.product();
  const std::int64_t active = experts / config_.experts * config_.k + router;
  return {experts + router, active, static_cast<double>(active)};
}

}  // namespace weir
