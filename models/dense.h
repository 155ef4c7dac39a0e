// The dense feedforward, W2 dropout(f(W1 x + b1)) + b2 with f = ReLU or GELU, and Top-K: that of ReLU with all but the
// K largest hidden units of each token set to 0.
#pragma once

#include "models/feedforward.h"

namespace weir {

// w1 [d_ff, D], w2 [D, d_ff]: truncated normals of std sqrt(2 / (layers * fan_in)); biases from 0.
class DenseFeedforward final : public Feedforward {
 public:
  DenseFeedforward(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& model,
                   const FeedforwardConfig& config);
  FeedforwardOutput operator()(const Tensor& x, const ForwardContext& context) const override;
  std::int64_t idle_parameters() const override;
  std::string text() const override;

 private:
  std::int64_t layer_;
  double dropout_;
  std::string kind_;   // dense, gelu, top-k
  std::int64_t kept_;  // hidden units
  const Parameter &w1_, &b1_, &w2_, &b2_;
};

}  // namespace weir
