#include "models/routing/router.h"

#include "autograd/autograd.h"
#include "ops/add.h"
#include "ops/dropout.h"
#include "ops/gather_rows.h"
#include "ops/multiply.h"
#include "ops/reshape.h"
#include "ops/route_top_k.h"
#include "ops/scale.h"
#include "ops/take_along.h"

namespace weir::routing {

Tensor Scored::ranked(const Tensor& values) const { return keep.defined() ? barred_last(values, keep) : values; }

Scored Scored::rows(const Tensor& tokens) const {
  return {gather_rows(logits, tokens), keep.defined() ? gather_rows(keep, tokens) : keep};
}

RegulariserInputs Routed::by_sequence() const {
  const auto apart = [](const Tensor& t, std::int64_t runs) { return reshape(t, {runs, t.size(0) / runs, t.size(1)}); };
  const std::int64_t runs = tokens.defined() ? 1 : sequences;
  return {apart(logits, sequences), apart(index, runs), apart(gate, runs)};
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
      gate_(registry<Gate>().find(config.gate)),
      regulariser_(registry<Regulariser>().find(config.regulariser)) {
  const RouterParameters declare{parameters, name, {config.experts, width}, std::move(initial), config};
  scores_ = registry<Scores>().find(config.scores)(declare);
  select_ = registry<Selection>().find(config.selection)(declare);
}

Routed Router::operator()(const Tensor& x, std::int64_t sequences, const ForwardContext& context) const {
  std::vector<Observation> observations;
  const Call call{context, layer_, sequences, k_, &observations};
  const double dropout = context.training ? expert_dropout_ : 0;
  const RandomStream random = call.random(RandomPlace::expert_mask);
  const Tensor logits = scores_(x, call);
  if (fused_) {
    const Routing routing = route_top_k(logits, k_, dropout, random);
    return {logits, routing.index, routing.gate, sequences, {}, std::move(observations)};
  }
  Scored scored{logits, {}};
  if (dropout > 0) scored.keep = keep_mask(logits.shape(), dropout, random, logits.dtype(), logits.device());
  const auto [index, tokens] = choose(scored, call);
  if (tokens.defined()) scored = scored.rows(tokens);
  Tensor gate = gate_(scored, index);
  if (scored.keep.defined()) gate = gate * take_along(scored.keep, index);
  return {logits, index, gate, sequences, tokens, std::move(observations)};
}

Choice Router::choose(const Scored& scored, const Call& call) const {
  const NoGradient guard;
  return select_({scored.logits.detach(), scored.keep}, call);
}

Tensor Router::auxiliary_loss(const Routed& routed) const {
  if (regulariser_weight_ == 0) return {};
  const Tensor loss = regulariser_(routed);
  return loss.defined() ? scale(loss, regulariser_weight_) : loss;
}

}  // namespace weir::routing
