#include "models/routing/router.h"

#include "autograd/autograd.h"
#include "ops/add.h"
#include "ops/add_scalar.h"
#include "ops/dropout.h"
#include "ops/multiply.h"
#include "ops/reshape.h"
#include "ops/route_top_k.h"
#include "ops/scale.h"
#include "ops/take_along.h"

namespace weir::routing {

Tensor Scored::ranked(const Tensor& values) const {
  return keep.defined() ? values + scale(add_scalar(keep, -1), 1e30) : values;
}

RegulariserInputs Routed::by_sequence() const {
  const auto apart = [this](const Tensor& t) { return reshape(t, {sequences, t.size(0) / sequences, t.size(1)}); };
  return {apart(logits), apart(index), apart(gate)};
}

Routed Routed::from_sequences(const RegulariserInputs& tensors) {
  const auto joined = [](const Tensor& t) { return reshape(t, {t.size(0) * t.size(1), t.size(2)}); };
  return {joined(tensors[0]), joined(tensors[1]), joined(tensors[2]), tensors[0].size(0)};
}

Router::Router(ParameterSet& parameters, const std::string& name, std::int64_t layer, std::int64_t width,
               const FeedforwardConfig& config, Initialiser initial)
    : layer_(layer),
      k_(config.k),
      expert_dropout_(config.expert_dropout),
      regulariser_weight_(config.regulariser_weight),
      fused_(config.selection == "top-k" && config.gate == "sigmoid"),
      selection_(registry<Selection>().find(config.selection)),
      gate_(registry<Gate>().find(config.gate)),
      regulariser_(registry<Regulariser>().find(config.regulariser)) {
  const std::int64_t before = parameters.count();
  scores_ = registry<Scores>().find(config.scores)({parameters, name, {config.experts, width}, std::move(initial)});
  parameter_count_ = parameters.count() - before;
}

Routed Router::operator()(const Tensor& x, std::int64_t sequences, const ForwardContext& context) const {
  const Call call{context, layer_, sequences, k_};
  const double dropout = context.training ? expert_dropout_ : 0;
  const RandomStream random = call.random(RandomPlace::expert_mask);
  const Tensor logits = scores_(x, call);
  if (fused_) {
    const Routing routing = route_top_k(logits, k_, dropout, random);
    return {logits, routing.index, routing.gate, sequences};
  }
  Scored scored{logits, {}};
  if (dropout > 0) scored.keep = keep_mask(logits.shape(), dropout, random, logits.dtype(), logits.device());
  Tensor index;
  {
    const NoGradient guard;
    index = selection_({logits.detach(), scored.keep}, call);
  }
  const Tensor gate = gate_(scored, index);
  return {logits, index, scored.keep.defined() ? gate * take_along(scored.keep, index) : gate, sequences};
}

Tensor Router::auxiliary_loss(const Routed& routed) const {
  if (regulariser_weight_ == 0) return {};
  const Tensor loss = regulariser_(routed);
  return loss.defined() ? scale(loss, regulariser_weight_) : loss;
}

}  // namespace weir::routing
