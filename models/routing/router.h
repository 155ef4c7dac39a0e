// Which experts a token uses and how much each counts, composed from the parts that the configuration names.
#pragma once

#include <string>

#include "models/routing/part.h"

namespace weir::routing {

class Router {
 public:
  // Declares the parameters of scores and selection under `name`, each [config.experts, width], and their buffers.
  Router(ParameterSet& parameters, const std::string& name, std::int64_t layer, std::int64_t width,
         const FeedforwardConfig& config, Initialiser initial);

  // x: [N, D], `sequences` runs of equally many tokens.
  Routed operator()(const Tensor& x, std::int64_t sequences, const ForwardContext& context) const;
  // The regulariser times its weight; undefined where there is none.
  Tensor auxiliary_loss(const Routed& routed) const;

 private:
  Choice choose(const Scored& scored, const Call& call) const;

  std::int64_t layer_, k_;
  double expert_dropout_, regulariser_weight_;
  bool fused_;  // one op does the work of selection and gate
  Scores::Logits scores_;
  Selection::Choose select_;
  Gate::Function gate_;
  Regulariser::Function regulariser_;
};

}  // namespace weir::routing
