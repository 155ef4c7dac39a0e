#include "models/config.h"

#include <fmt/format.h>

#include "core/error.h"
#include "models/routing/part.h"

namespace weir {
namespace {

void validate_layers(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  if (model.layers % model.distinct_layers() != 0)
    throw ArgumentError(
        fmt::format("model.layers = {} is not a multiple of model.layer_group = {}: the group is repeated as a whole; "
                    "change one of them, or give model.layer_group = 0 for layers of their own",
                    model.layers, model.layer_group));
  if (model.norm == "peri" && model.attention != "switch-head")
    throw ArgumentError(
        fmt::format("model.norm = \"peri\" keeps values out of the layer norm, which model.attention = \"{}\" cannot; "
                    "choose model.attention = \"switch-head\" or model.norm = \"pre\"",
                    model.attention));
  if (model.norm == "peri" && feedforward.kind != "moe")
    throw ArgumentError(
        fmt::format("model.norm = \"peri\" gives the layer norm to the selection of experts, which feedforward.kind = "
                    "\"{}\" has not; choose feedforward.kind = \"moe\" or model.norm = \"pre\"",
                    feedforward.kind));
}

void validate_vocabulary(const ModelConfig& model) {
  if (model.vocabulary >= 2) return;
  throw ArgumentError(
      fmt::format("model.vocabulary = {}: a model needs at least 2 different tokens, and 256 for bytes; set it to what "
                  "the data has",
                  model.vocabulary));
}

void validate_experts(const ModelConfig& model) {
  if (model.attention == "switch-head" && model.attention_k > model.attention_experts)
    throw ArgumentError(
        fmt::format("model.attention_k = {} is more than model.attention_experts = {}: a head cannot use more experts "
                    "than it has; lower attention_k or add experts",
                    model.attention_k, model.attention_experts));
}

}  // namespace

void FeedforwardConfig::visit(FieldVisitor& v) {
  v.field("kind", kind, {"dense", "top-k", "pkm", "moe"}, "what stands between two attentions");
  v.field("d_ff", d_ff, {.min = 1, .max = 1 << 24}, "hidden units of dense and top-k");
  v.field("experts", experts, {.min = 1, .max = 65536}, "experts per layer");
  v.field("expert_size", expert_size, {.min = 1, .max = 65536}, "hidden units per expert");
  v.field("k", k, {.min = 1, .max = 1 << 24},
          "what each token uses: experts of moe, hidden units of top-k, values per head of pkm");
  v.field("scores", scores, registry<routing::Scores>().names(),
          registry<routing::Scores>().help("what a token's experts are ranked by").c_str());
  v.field("selection", selection, registry<routing::Selection>().names(),
          registry<routing::Selection>().help("how a token's k experts are chosen from the scores").c_str());
  v.field("gate", gate, registry<routing::Gate>().names(),
          registry<routing::Gate>().help("how the score of a chosen expert becomes the factor on its output").c_str());
  v.field("hidden_k", hidden_k, {.min = 0, .max = 1 << 24},
          "keep only this many of the hidden units of a token's experts, the largest; 0: all");
  v.field("expert_dropout", expert_dropout, {.min = 0, .below = 1},
          "probability with which an expert cannot be selected by a token in training");
  v.field("dropout_experts", dropout_experts, {.min = 0, .below = 1},
          "probability with which a hidden unit inside the experts is dropped in training");
  v.field("regulariser", regulariser, registry<routing::Regulariser>().names(),
          registry<routing::Regulariser>().help("loss term that keeps all experts in use").c_str());
  v.field("regulariser_weight", regulariser_weight, {.min = 0, .max = 1e6}, "factor on the regulariser's loss term");
  v.field("sub_keys", sub_keys, {.min = 1, .max = 46340}, "sub-keys of each half and head of pkm, whose square values");
  v.field("key_heads", key_heads, {.min = 1, .max = 1024}, "heads of pkm, which share the values");
  v.field("activation", activation, {"relu", "softmax"}, "what pkm makes of its scores");
  v.field("init", init, registry<routing::Initialisation>().names(),
          registry<routing::Initialisation>().help("initial scale of the experts' second matrix").c_str());
}

void validate(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  validate_vocabulary(model);
  validate_layers(model, feedforward);
  validate_experts(model);
}

}  // namespace weir
