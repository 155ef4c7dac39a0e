// The sigma-MoE feedforward: y = sum over the K selected experts e of gate[e] * ReLU(x A_e) B_e.
#pragma once

#include "models/feedforward.h"

namespace weir {

// router [E, D], w1 [E, D, G] (A), w2 [E, G, D] (B); no biases. Initial standard deviations ("dense-equivalent"):
// router and A sqrt(2 / (layers * D)), router rows normalised; B sqrt(2 / (layers * E * G)), or with "standard"
// sqrt(2 / (layers * G)).
class Moe final : public Feedforward {
 public:
  Moe(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& model,
      const FeedforwardConfig& config);
  FeedforwardOutput operator()(const Tensor& x, const ForwardContext& context) const override;
  FeedforwardOutput routed(const Tensor& x, const Tensor& router_input, const ForwardContext& context) const override;
  // inputs: the logits [B, T, E] and the choice [B, T, K].
  Tensor auxiliary_loss(const RegulariserInputs& inputs) const override;
  FeedforwardCost cost() const override;

 private:
  struct Selection {
    Tensor gate;   // [N, K]
    Tensor index;  // [N, K] int32
  };
  Selection select(const Tensor& logits, const ForwardContext& context) const;
  Tensor regulariser(const Tensor& logits, const Tensor& index) const;

  std::int64_t layer_;
  FeedforwardConfig config_;
  const Parameter &router_, &w1_, &w2_;
};

}  // namespace weir
