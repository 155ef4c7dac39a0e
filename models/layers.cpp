#include "models/layers.h"

#include <cmath>

#include "models/initialise.h"
#include "ops/dropout.h"
#include "ops/embedding.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"

namespace weir {

constexpr double kEps = 1e-5;  // of every norm

LayerNorm::LayerNorm(ParameterSet& parameters, const std::string& name, std::int64_t d_model)
    : weight_(parameters.add(name + ".weight", {d_model}, initialise::constant(1))),
      bias_(parameters.add(name + ".bias", {d_model}, initialise::constant(0))) {}

Tensor LayerNorm::operator()(const Tensor& x) const { return layer_norm(x, weight_.value, bias_.value, kEps); }

ResidualLayerNorm LayerNorm::of_sum(const Tensor& x, const Tensor& branch, double p, const RandomStream& random) const {
  return residual_layer_norm(x, branch, weight_.value, bias_.value, kEps, p, random);
}

RmsNorm::RmsNorm(ParameterSet& parameters, const std::string& name, std::int64_t d_model)
    : weight_(parameters.add(name + ".weight", {d_model}, initialise::constant(1))) {}

Tensor RmsNorm::operator()(const Tensor& x) const { return rms_norm(x, weight_.value, kEps); }

Embedding::Embedding(ParameterSet& parameters, const std::string& name, std::int64_t vocabulary, std::int64_t d_model)
    : weight_(parameters.add(name, {vocabulary, d_model},
                             initialise::uniform(std::sqrt(6.0 / static_cast<double>(vocabulary + d_model))))) {}

Tensor Embedding::operator()(const Tensor& ids, DType dtype) const { return embedding(weight_.value, ids, dtype); }

Tensor Embedding::logits(const Tensor& x, const ForwardContext& context) const {
  return linear(x, weight_.value, context.products);
}

OutputProjection::OutputProjection(ParameterSet& parameters, const std::string& name, std::int64_t vocabulary,
                                   std::int64_t d_model)
    : weight_(parameters.add(name + ".weight", {vocabulary, d_model},
                             initialise::uniform(1 / std::sqrt(static_cast<double>(d_model))))),
      bias_(parameters.add(name + ".bias", {vocabulary},
                           initialise::uniform(1 / std::sqrt(static_cast<double>(d_model))))) {}

Tensor OutputProjection::operator()(const Tensor& x, const ForwardContext& context) const {
  return linear(x, weight_.value, bias_.value, Activation::none, context.products);
}

Tensor dropout_if_training(const Tensor& x, double p, const ForwardContext& context, RandomPlace place,
                           std::int64_t layer) {
  return context.training && p > 0 ? dropout(x, p, context.random(place, layer)) : x;
}

}  // namespace weir
