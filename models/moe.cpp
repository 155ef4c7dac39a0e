#include "models/moe.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"
#include "ops/cast.h"
#include "ops/expert_feedforward.h"
#include "ops/gather_rows.h"
#include "ops/grouped_matmul.h"
#include "ops/reshape.h"
#include "ops/scatter_add_rows.h"
#include "ops/sort_by_expert.h"

namespace weir {
namespace {

routing::InitialValues initial_values(const ModelConfig& model, const FeedforwardConfig& config) {
  return registry<routing::Initialisation>().find(config.init)(model, config);
}

void validate(const FeedforwardConfig& f) {
  if (f.k > f.experts) {
    throw ArgumentError(
        fmt::format("feedforward.k = {} is more than feedforward.experts = {}: a token cannot use more "
                    "experts than there are; lower k or add experts",
                    f.k, f.experts));
  }
  if (f.hidden_k > f.k * f.expert_size) {
    throw ArgumentError(
        fmt::format("feedforward.hidden_k = {} is more than the {} hidden units that a token uses (feedforward.k x "
                    "feedforward.expert_size): lower it, or give 0 for all",
                    f.hidden_k, f.k * f.expert_size));
  }
  if (f.selection == "assignment" && f.k != 1) {
    throw ArgumentError(
        fmt::format("feedforward.selection = \"assignment\" gives each token one expert, but feedforward.k = {}: set "
                    "feedforward.k = 1, or another selection",
                    f.k));
  }
  if ((f.selection == "assignment" || f.selection == "random") && f.expert_dropout > 0) {
    throw ArgumentError(
        fmt::format("feedforward.selection = {} cannot avoid the experts that feedforward.expert_dropout = {} drops: "
                    "set feedforward.expert_dropout = 0",
                    quote(f.selection), f.expert_dropout));
  }
  const bool regularised = f.regulariser != "none" && f.regulariser_weight > 0;
  if (f.selection == "random" && regularised) {
    throw ArgumentError(
        fmt::format("feedforward.regulariser = {} cannot change which experts feedforward.selection = \"random\" "
                    "draws: set feedforward.regulariser = \"none\"",
                    quote(f.regulariser)));
  }
  if (f.regulariser == "importance" && f.gate == "one" && regularised) {
    throw ArgumentError(
        "feedforward.regulariser = \"importance\" works through the gates, which feedforward.gate = \"one\" makes "
        "constant: choose another gate, or another regulariser");
  }
}

// values[rows], integers [R] by row; the rows themselves where there are no values.
Tensor of_rows(const Tensor& values, const Tensor& rows) {
  if (!values.defined()) return rows;
  const std::vector<double> all = values.values();
  std::vector<double> taken;
  for (double row : rows.values()) taken.push_back(all[static_cast<std::size_t>(row)]);
  return to_device(Tensor::from_values(rows.shape(), taken, DType::int32), rows.device());
}

// The hidden units again, which the fused op keeps to itself.
void count_active_units(FeedforwardStatistics& statistics, const Tensor& flat, const routing::Routed& routed,
                        const Tensor& w1, std::int64_t hidden_k, Float32Products products) {
  const ExpertOrder order = sort_by_expert(routed.index, w1.size(0));
  const Tensor tokens = of_rows(routed.tokens, order.tokens);                                    // of each pair
  const Tensor hidden = grouped_matmul(gather_rows(flat, tokens), w1, order.offsets, products);  // [R K, G] before ReLU
  count_active(statistics, hidden.detach(), tokens, flat.size(0), hidden_k);
}

}  // namespace

Moe::Moe(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& model,
         const FeedforwardConfig& config)
    : layer_(layer),
      config_(config),
      router_(parameters, name, layer, model.d_model, config, initial_values(model, config).router),
      w1_(parameters.add(name + ".w1", {config.experts, model.d_model, config.expert_size},
                         initial_values(model, config).w1)),
      w2_(parameters.add(name + ".w2", {config.experts, config.expert_size, model.d_model},
                         initial_values(model, config).w2)) {
  validate(config);
}

FeedforwardOutput Moe::operator()(const Tensor& x, const ForwardContext& context) const {
  return routed(x, x, context);
}

FeedforwardOutput Moe::routed(const Tensor& x, const Tensor& router_input, const ForwardContext& context) const {
  const Tensor flat = reshape(x, {x.size(0) * x.size(1), x.size(2)});  // [N, D]
  // Routing stays in the parameters' type even where activations are bf16.
  const Tensor seen = reshape(cast(router_input, w1_.value.dtype()), flat.shape());
  routing::Routed routed = router_(seen, x.size(0), context);
  FeedforwardOutput out;
  const ExpertOptions options{.dropout = context.training ? config_.dropout_experts : 0,
                              .hidden_k = config_.hidden_k,
                              .random = context.random(RandomPlace::expert_hidden, layer_)};
  const Tensor& tokens = routed.tokens;
  const Tensor rows = tokens.defined() ? gather_rows(flat, tokens) : flat;  // [R, D]
  const Tensor y = expert_feedforward(rows, routed.gate, routed.index, w1_.value, w2_.value, options, context.products);
  out.y = reshape(tokens.defined() ? scatter_add_rows(y, tokens, flat.size(0)) : y, x.shape());
  if (context.training && context.shared_layer)
    out.regulariser_inputs = routed.by_sequence();
  else if (context.training)
    out.auxiliary_loss = router_.auxiliary_loss(routed);
  if (context.collect_statistics)
    count_selections(out.statistics, routed.gate, routed.index, tokens, config_.experts, context.analyse);
  if (context.analyse) count_active_units(out.statistics, flat, routed, w1_.value, config_.hidden_k, context.products);
  out.observations = std::move(routed.observations);
  return out;
}

Tensor Moe::auxiliary_loss(const RegulariserInputs& inputs) const {
  return inputs.empty() ? Tensor() : router_.auxiliary_loss(routing::Routed::from_sequences(inputs));
}

std::int64_t Moe::idle_parameters() const {
  return (w1_.shape.product() + w2_.shape.product()) / config_.experts * (config_.experts - config_.k);
}

std::string Moe::text() const {
  const bool sigma = config_.selection == "top-k" && config_.gate == "sigmoid";
  return fmt::format("{}: {} of {}, {} per token",
                     sigma ? "σ-MoE" : fmt::format("MoE ({}, {})", config_.selection, config_.gate),
                     counted(config_.experts, "expert"), config_.expert_size, config_.k);
}

namespace {
const bool added = registry<FeedforwardKind>().add(
    {.name = "moe",
     .help = "a mixture of experts",
     .function = by_constructor<Moe>,
     .reads = {"experts", "expert_size", "k", "scores", "selection", "gate", "hidden_k", "expert_dropout",
               "dropout_experts", "regulariser", "regulariser_weight", "bias_update_rate", "init"}});
}  // namespace

}  // namespace weir
