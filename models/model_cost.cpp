#include "models/model_cost.h"

#include <algorithm>

#include "models/transformer_xl.h"

namespace weir {
namespace {

// Values that one token of one feedforward leaves behind for the backward pass.
double kept_values(const ModelConfig& m, const FeedforwardConfig& f) {
  const auto d = static_cast<double>(m.d_model);
  if (f.kind == "dense") return 4 * d + 2 * static_cast<double>(f.d_ff);
  if (f.kind == "top-k") return 4 * d + 3 * static_cast<double>(f.d_ff);
  const auto k = static_cast<double>(f.k);
  if (f.kind == "pkm") {
    const auto n = static_cast<double>(f.sub_keys), chosen = static_cast<double>(f.key_heads) * k;
    if (f.k < f.sub_keys) return 4 * d + 4 * chosen;
    return 4 * d + 2 * n + (f.activation == "softmax" ? n * n : 0);
  }
  return (4 + k) * d + k * static_cast<double>(f.expert_size) + 6 * static_cast<double>(f.experts);
}

}  // namespace

ModelCost model_cost(const ModelConfig& model, const FeedforwardConfig& feedforward, std::int64_t batch_size,
                     double state_bytes) {
  const TransformerXl declared(model, feedforward);
  const auto layers = static_cast<double>(model.layers), d = static_cast<double>(model.d_model);
  const auto segment = static_cast<double>(model.segment), memory = static_cast<double>(model.memory_length());
  const AttentionLoad load{.keys_per_query = (segment + memory) / segment,
                           .seen = memory + (segment + 1) / 2,
                           .batch_size = static_cast<double>(batch_size)};
  ModelCost cost;
  cost.parameters = declared.parameters().count();
  cost.active_parameters = cost.parameters - (model.vocabulary - 1) * model.d_model;
  double multiply_adds = static_cast<double>(model.vocabulary) * d;
  double kept = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(model.layers); ++i) {
    const FeedforwardCost ff = declared.feedforward(i).cost();
    const AttentionCost attention = declared.attention(i).cost(load);
    multiply_adds += attention.multiply_adds + ff.multiply_adds;
    kept = attention.kept_values + kept_values(model, feedforward);
    if (i >= static_cast<std::size_t>(model.distinct_layers())) continue;  // parameters already counted
    cost.active_parameters -= attention.total_parameters - attention.active_parameters;
    cost.active_parameters -= ff.total_parameters - ff.active_parameters;
  }
  cost.forward_flops_per_token = 2 * multiply_adds;
  cost.training_flops_per_token = 3 * cost.forward_flops_per_token;
  const double tokens = segment * static_cast<double>(batch_size), element = model.precision == "bf16" ? 2 : 4;
  const double kept_layers = model.checkpoint_activations ? 1 : layers;
  const double activations = kept_layers * kept + 2 * layers * d + 2 * static_cast<double>(model.vocabulary);
  const double weights = (8 + state_bytes) * static_cast<double>(cost.parameters),  // and gradients, in float32
      bytes = weights + tokens * element * activations;
  cost.weight_bytes = static_cast<std::int64_t>(std::min(weights, 9e18));
  cost.training_bytes = static_cast<std::int64_t>(std::min(bytes, 9e18));
  return cost;
}

}  // namespace weir
