#include "models/moe.h"

#include "ops/cast.h"
#include "ops/expert_feedforward.h"
#include "ops/reshape.h"

namespace weir {
namespace {

routing::InitialValues initial_values(const ModelConfig& model, const FeedforwardConfig& config) {
  return routing::find_part<routing::Initialisation>(config.init)(model, config);
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
      router_(parameters, name, layer, model.d_model, config, initial_values(model, config).router),
      w1_(parameters.add(name + ".w1", {config.experts, model.d_model, config.expert_size},
                         initial_values(model, config).w1)),
      w2_(parameters.add(name + ".w2", {config.experts, config.expert_size, model.d_model},
                         initial_values(model, config).w2)) {}

FeedforwardOutput Moe::operator()(const Tensor& x, const ForwardContext& context) const {
  const Tensor flat = reshape(x, {x.size(0) * x.size(1), x.size(2)});  // [N, D]
  // Routing stays in the parameters' type even where activations are bf16.
  const routing::Routed routed = router_(cast(flat, w1_.value.dtype()), x.size(0), context);
  FeedforwardOutput out;
  const ExpertOptions options{.dropout = context.training ? config_.dropout_experts : 0,
                              .hidden_k = config_.hidden_k,
                              .random = context.random(RandomPlace::expert_hidden, layer_)};
  out.y = reshape(expert_feedforward(flat, routed.gate, routed.index, w1_.value, w2_.value, options), x.shape());
  out.auxiliary_loss = router_.auxiliary_loss(routed, context);
  if (context.collect_statistics) out.statistics.expert_counts = count_experts(routed.index, config_.experts);
  return out;
}

FeedforwardCost Moe::cost() const {
  const std::int64_t experts = w1_.shape.product() + w2_.shape.product(), router = router_.parameter_count();
  const std::int64_t active = experts / config_.experts * config_.k + router;
  return {experts + router, active, static_cast<double>(active)};
}

}  // namespace weir
