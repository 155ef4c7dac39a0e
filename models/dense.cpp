#include "models/dense.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"
#include "models/initialise.h"
#include "models/layers.h"
#include "ops/gelu.h"
#include "ops/keep_top_k.h"
#include "ops/linear.h"

namespace weir {
namespace {

Initialiser matrix(const ModelConfig& model, std::int64_t fan_in) {
  return initialise::truncated_normal(model.matrix_std(fan_in));
}

void validate_top_k(const FeedforwardConfig& f) {
  if (f.k > f.d_ff) {
    throw ArgumentError(
        fmt::format("feedforward.k = {} is more than feedforward.d_ff = {}: a token cannot keep more hidden "
                    "units than there are; lower k or raise d_ff",
                    f.k, f.d_ff));
  }
}

}  // namespace

DenseFeedforward::DenseFeedforward(ParameterSet& parameters, const std::string& name, std::int64_t layer,
                                   const ModelConfig& model, const FeedforwardConfig& config)
    : layer_(layer),
      dropout_(model.dropout),
      kind_(config.kind),
      kept_(kind_ == "top-k" ? config.k : config.d_ff),
      w1_(parameters.add(name + ".w1", {config.d_ff, model.d_model}, matrix(model, model.d_model))),
      b1_(parameters.add(name + ".b1", {config.d_ff}, initialise::constant(0))),
      w2_(parameters.add(name + ".w2", {model.d_model, config.d_ff}, matrix(model, config.d_ff))),
      b2_(parameters.add(name + ".b2", {model.d_model}, initialise::constant(0))) {
  if (kind_ == "top-k") validate_top_k(config);
}

FeedforwardOutput DenseFeedforward::operator()(const Tensor& x, const ForwardContext& context) const {
  const auto first = [&](Activation activation) {
    return linear(x, w1_.value, b1_.value, activation, context.products);
  };
  const Tensor active = kind_ == "gelu" ? gelu(first(Activation::none)) : first(Activation::relu);  // [B, T, d_ff]
  Tensor hidden = dropout_if_training(active, dropout_, context, RandomPlace::hidden, layer_);
  if (kept_ < hidden.size(-1)) hidden = keep_top_k(hidden, kept_);
  FeedforwardOutput out;
  out.y = linear(hidden, w2_.value, b2_.value, Activation::none, context.products);
  if (context.analyse) count_active(out.statistics, hidden);
  return out;
}

std::int64_t DenseFeedforward::idle_parameters() const {
  return (b1_.shape[0] - kept_) * b2_.shape[0];  // columns of w2
}

std::string DenseFeedforward::text() const {
  const std::string units = counted(b1_.shape[0], "hidden unit");
  return kind_ == "top-k" ? fmt::format("top-k: {} of {}", kept_, units) : kind_ + ": " + units;
}

namespace {
const bool added = registry<FeedforwardKind>().add({.name = "dense",
                                                    .help = "two matrices with a ReLU between",
                                                    .function = by_constructor<DenseFeedforward>,
                                                    .reads = {"d_ff"}}) &&
                   registry<FeedforwardKind>().add({.name = "gelu",
                                                    .help = "the same with GELU",
                                                    .function = by_constructor<DenseFeedforward>,
                                                    .reads = {"d_ff"}}) &&
                   registry<FeedforwardKind>().add({.name = "top-k",
                                                    .help = "dense, of which each token keeps k hidden units",
                                                    .function = by_constructor<DenseFeedforward>,
                                                    .reads = {"d_ff", "k"}});
}  // namespace

}  // namespace weir
