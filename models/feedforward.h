// The feedforward of a layer: one interface, so that every variant of the paper is one small file behind it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/config.h"
#include "models/forward_context.h"
#include "models/parameter.h"
#include "models/regulariser.h"
#include "models/statistics.h"

namespace weir {

struct FeedforwardOutput {
  Tensor y;               // like the input
  Tensor auxiliary_loss;  // regulariser times its weight, one element; undefined where there is none
  FeedforwardStatistics statistics;
  RegulariserInputs regulariser_inputs{};   // of a shared layer, in place of the auxiliary loss
  std::vector<Observation> observations{};  // in training, for the buffers that it declared
};

class Feedforward {
 public:
  virtual ~Feedforward() = default;
  // x: [B, T, D], the output of the layer's second norm.
  virtual FeedforwardOutput operator()(const Tensor& x, const ForwardContext& context) const = 0;
  // The same with x as it is, and another tensor like it to select the experts by; for feedforwards that have some.
  virtual FeedforwardOutput routed(const Tensor& x, const Tensor& router_input, const ForwardContext& context) const;
  // The auxiliary loss of the calls that these come from; undefined for none.
  virtual Tensor auxiliary_loss(const RegulariserInputs& inputs) const;
  virtual std::int64_t idle_parameters() const { return 0; }  // that one token does not use
  virtual std::string text() const = 0;                       // for a person: "dense: 512 hidden units"
};

// Declares the parameters of layer number `layer` under `name` and returns its feedforward. Throws ArgumentError where
// its settings do not fit each other.
std::unique_ptr<Feedforward> make_feedforward(ParameterSet& parameters, const std::string& name, std::int64_t layer,
                                              const ModelConfig& model, const FeedforwardConfig& config);

// Feedforward::text() of such a feedforward.
std::string feedforward_text(const ModelConfig& model, const FeedforwardConfig& config);

}  // namespace weir
