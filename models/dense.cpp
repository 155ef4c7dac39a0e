#include "models/dense.h"

#include <cmath>

#include "models/initialise.h"
#include "models/layers.h"
#include "ops/keep_top_k.h"
#include "ops/linear.h"

namespace weir {
namespace {

Initialiser matrix(const ModelConfig& model, std::int64_t fan_in) {
  return initialise::truncated_normal(std::sqrt(2.0 / static_cast<double>(model.layers * fan_in)));
}

}  // namespace

DenseFeedforward::DenseFeedforward(ParameterSet& parameters, const std::string& name, std::int64_t layer,
                                   const ModelConfig& model, const FeedforwardConfig& config)
    : layer_(layer),
      dropout_(model.dropout),
      kept_(config.kind == "top-k" ? config.k : config.d_ff),
      w1_(parameters.add(name + ".w1", {config.d_ff, model.d_model}, matrix(model, model.d_model))),
      b1_(parameters.add(name + ".b1", {config.d_ff}, initialise::constant(0))),
      w2_(parameters.add(name + ".w2", {model.d_model, config.d_ff}, matrix(model, config.d_ff))),
      b2_(parameters.add(name + ".b2", {model.d_model}, initialise::constant(0))) {}

FeedforwardOutput DenseFeedforward::operator()(const Tensor& x, const ForwardContext& context) const {
  Tensor hidden = linear(x, w1_.value, b1_.value, Activation::relu);  // [B, T, d_ff]
  hidden = dropout_if_training(hidden, dropout_, context, RandomPlace::hidden, layer_);
  if (kept_ < hidden.size(-1)) hidden = keep_top_k(hidden, kept_);
  return {linear(hidden, w2_.value, b2_.value), {}, {}};
}

FeedforwardCost DenseFeedforward::cost() const {
  const std::int64_t matrices = w1_.shape.product() + w2_.shape.product();
  const std::int64_t all = matrices + b1_.shape.product() + b2_.shape.product();
  const std::int64_t unused = (b1_.shape[0] - kept_) * b2_.shape[0];  // of w2
  return {all, all - unused, static_cast<double>(matrices)};
}

}  // namespace weir
