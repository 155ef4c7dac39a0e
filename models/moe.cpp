#include "models/moe.h"

#include "ops/cast.h"
#include "ops/expert_feedforward.h"
#include "ops/gather_rows.h"
#include "ops/grouped_matmul.h"
#include "ops/reshape.h"
#include "ops/sort_by_expert.h"

namespace weir {
namespace {

routing::InitialValues initial_values(const ModelConfig& model, const FeedforwardConfig& config) {
  return registry<routing::Initialisation>().find(config.init)(model, config);
}

// The hidden units again, which the fused op keeps to itself.
void count_active_units(FeedforwardStatistics& statistics, const Tensor& flat, const Tensor& index, const Tensor& w1,
                        std::int64_t hidden_k) {
  const ExpertOrder order = sort_by_expert(index, w1.size(0));
  const Tensor hidden = grouped_matmul(gather_rows(flat, order.tokens), w1, order.offsets);  // [N K, G] before ReLU
  count_active(statistics, hidden.detach(), order.tokens, flat.size(0), hidden_k);
}

}  // namespace

Moe::Moe(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& model,
         const FeedforwardConfig& config)
    : layer_(layer),
      config_(config),
      router_(parameters, name, layer, model.d_model, config, initial_values(model, config).router),
      w1_(parameters.add(name + ".w1", {config.experts, model.d_model, config.expert_size},
                         initial_values(model, config).w1)),
      w2_(parameters.add(name + ".w2", {config.experts, config.expert_size, model.d_model},
                         initial_values(model, config).w2)) {}

FeedforwardOutput Moe::operator()(const Tensor& x, const ForwardContext& context) const {
  return routed(x, x, context);
}

FeedforwardOutput Moe::routed(const Tensor& x, const Tensor& router_input, const ForwardContext& context) const {
  const Tensor flat = reshape(x, {x.size(0) * x.size(1), x.size(2)});  // [N, D]
  // Routing stays in the parameters' type even where activations are bf16.
  const Tensor seen = reshape(cast(router_input, w1_.value.dtype()), flat.shape());
  const routing::Routed routed = router_(seen, x.size(0), context);
  FeedforwardOutput out;
  const ExpertOptions options{.dropout = context.training ? config_.dropout_experts : 0,
                              .hidden_k = config_.hidden_k,
                              .random = context.random(RandomPlace::expert_hidden, layer_)};
  out.y = reshape(expert_feedforward(flat, routed.gate, routed.index, w1_.value, w2_.value, options), x.shape());
  if (context.training && context.shared_layer)
    out.regulariser_inputs = routed.by_sequence();
  else if (context.training)
    out.auxiliary_loss = router_.auxiliary_loss(routed);
  if (context.collect_statistics)
    count_selections(out.statistics, routed.gate, routed.index, config_.experts, context.analyse);
  if (context.analyse) count_active_units(out.statistics, flat, routed.index, w1_.value, config_.hidden_k);
  return out;
}

Tensor Moe::auxiliary_loss(const RegulariserInputs& inputs) const {
  return inputs.empty() ? Tensor() : router_.auxiliary_loss(routing::Routed::from_sequences(inputs));
}

FeedforwardCost Moe::cost() const {
  const std::int64_t experts = w1_.shape.product() + w2_.shape.product(), router = router_.parameter_count();
  const std::int64_t active = experts / config_.experts * config_.k + router;
  return {experts + router, active, static_cast<double>(active)};
}

}  // namespace weir
