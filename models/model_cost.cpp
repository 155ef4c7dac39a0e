#include "models/model_cost.h"

#include <algorithm>

#include "models/transformer_xl.h"

namespace weir {
namespace {

// Values that one token of one layer leaves behind for the backward pass.
double kept_values(const ModelConfig& m, const FeedforwardConfig& f, double keys_per_query) {
  const auto d = static_cast<double>(m.d_model), heads = static_cast<double>(m.heads * m.head_size);
  const double attention = keys_per_query * (2 * d + 2 * heads) + 2 * d + 2 * heads;  // seen, normed, kv; own, q, out
  if (f.kind == "dense") return attention + 4 * d + 2 * static_cast<double>(f.d_ff);
  if (f.kind == "top-k") return attention + 4 * d + 3 * static_cast<double>(f.d_ff);
  const auto k = static_cast<double>(f.k);
  if (f.kind == "pkm") {
    const auto n = static_cast<double>(f.sub_keys), chosen = static_cast<double>(f.key_heads) * k;
    return attention + 4 * d + (f.k >= f.sub_keys ? 2 * n + n * n : 4 * chosen);
  }
  return attention + (4 + k) * d + k * static_cast<double>(f.expert_size) + 6 * static_cast<double>(f.experts);
}

}  // namespace

ModelCost model_cost(const ModelConfig& model, const FeedforwardConfig& feedforward, std::int64_t batch_size) {
  const TransformerXl declared(model, feedforward);
  const auto layers = static_cast<double>(model.layers), d = static_cast<double>(model.d_model);
  const auto heads = static_cast<double>(model.heads * model.head_size);
  const auto segment = static_cast<double>(model.segment), memory = static_cast<double>(model.memory_length());
  const double keys_per_query = (segment + memory) / segment;  // positions projected to k and v, per token
  const double seen = memory + (segment + 1) / 2;              // positions a query attends to, on average
  ModelCost cost;
  cost.parameters = declared.parameters().count();
  cost.active_parameters = cost.parameters - (model.vocabulary - 1) * model.d_model;
  double multiply_adds = static_cast<double>(model.vocabulary) * d;
  for (std::size_t i = 0; i < static_cast<std::size_t>(model.layers); ++i) {
    const FeedforwardCost ff = declared.feedforward(i).cost();
    cost.active_parameters -= ff.total_parameters - ff.active_parameters;
    const double projections = d * heads * (2 + 2 * keys_per_query + keys_per_query / static_cast<double>(batch_size));
    multiply_adds += projections + 3 * heads * seen + ff.multiply_adds;
  }
  cost.forward_flops_per_token = 2 * multiply_adds;
  cost.training_flops_per_token = 3 * cost.forward_flops_per_token;
  const double tokens = segment * static_cast<double>(batch_size), element = model.precision == "bf16" ? 2 : 4;
  const double kept_layers = model.checkpoint_activations ? 1 : layers;
  const double activations = kept_layers * kept_values(model, feedforward, keys_per_query) + 2 * layers * d +
                             2 * static_cast<double>(model.vocabulary);
  const double bytes = 16 * static_cast<double>(cost.parameters) + tokens * element * activations;
  cost.training_bytes = static_cast<std::int64_t>(std::min(bytes, 9e18));
  return cost;
}

}  // namespace weir
