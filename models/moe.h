// The mixture-of-experts feedforward: y = sum over the K selected experts e of gate[e] * relu(x w1[e]) w2[e].
#pragma once

#include "models/feedforward.h"
#include "models/routing/router.h"

namespace weir {

// The router (models/routing) chooses and weighs the experts. w1 [E, D, G], w2 [E, G, D]; no biases.
class Moe final : public Feedforward {
 public:
  Moe(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& model,
      const FeedforwardConfig& config);
  FeedforwardOutput operator()(const Tensor& x, const ForwardContext& context) const override;
  FeedforwardOutput routed(const Tensor& x, const Tensor& router_input, const ForwardContext& context) const override;
  Tensor auxiliary_loss(const RegulariserInputs& inputs) const override;
  std::int64_t idle_parameters() const override;
  std::string text() const override;

 private:
  std::int64_t layer_;
  FeedforwardConfig config_;
  routing::Router router_;
  const Parameter &w1_, &w2_;
};

}  // namespace weir
