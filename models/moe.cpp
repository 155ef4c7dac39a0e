#include "models/moe.h"

#include <cmath>

#include "models/initialise.h"
#include "models/regulariser.h"
#include "ops/add.h"
#include "ops/add_scalar.h"
#include "ops/cast.h"
#include "ops/dropout.h"
#include "ops/expert_feedforward.h"
#include "ops/gather_rows.h"
#include "ops/grouped_matmul.h"
#include "ops/linear.h"
#include "ops/multiply.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/sigmoid.h"
#include "ops/softmax.h"
#include "ops/sort_by_expert.h"
#include "ops/take_along.h"
#include "ops/top_k.h"

namespace weir {
namespace {

double fan_in_std(const ModelConfig& model, std::int64_t fan_in) {
  return std::sqrt(2.0 / static_cast<double>(model.layers * fan_in));
}

// The hidden units again, which the fused op keeps to itself.
void count_active_units(FeedforwardStatistics& statistics, const Tensor& flat, const Tensor& index, const Tensor& w1) {
  const ExpertOrder order = sort_by_expert(index, w1.size(0));
  const Tensor hidden = grouped_matmul(gather_rows(flat, order.tokens), w1, order.offsets);  // [N K, G] before ReLU
  count_active(statistics, hidden.detach(), order.tokens, flat.size(0));
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
  const std::int64_t tokens = x.size(0) * x.size(1);
  const Tensor flat = reshape(x, {tokens, x.size(2)});                             // [N, D]
  const Tensor logits = linear(cast(flat, router_.value.dtype()), router_.value);  // [N, E], never in bf16
  const Selection chosen = select(logits, context);
  FeedforwardOutput out;
  const bool hidden_dropout = context.training && config_.dropout_experts > 0;
  const Tensor y = hidden_dropout ? expert_feedforward_composed(flat, chosen.gate, chosen.index, w1_.value, w2_.value,
                                                                config_.dropout_experts,
                                                                context.random(RandomPlace::expert_hidden, layer_))
                                  : expert_feedforward(flat, chosen.gate, chosen.index, w1_.value, w2_.value);
  out.y = reshape(y, x.shape());
  if (context.training && config_.regulariser_weight > 0 && config_.regulariser != "none")
    out.auxiliary_loss = scale(regulariser(logits, chosen.index), config_.regulariser_weight);
  if (context.collect_statistics)
    count_selections(out.statistics, chosen.gate, chosen.index, config_.experts, context.analyse);
  if (context.analyse) count_active_units(out.statistics, flat, chosen.index, w1_.value);
  return out;
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
