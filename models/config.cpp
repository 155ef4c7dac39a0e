#include "models/config.h"

#include <cmath>

#include "models/attention.h"
#include "models/feedforward.h"
#include "models/routing/part.h"

namespace weir {
double ModelConfig::matrix_std(std::int64_t fan_in) const {
  return std::sqrt(2.0 / static_cast<double>(layers * fan_in));
}

void ModelConfig::visit(FieldVisitor& v) {
  v.field("kind", kind, registry<ModelKind>().names(), registry<ModelKind>().help("the architecture").c_str());
  v.field("vocabulary", vocabulary, {.min = 0, .max = 1 << 24},
          "number of different tokens; 0: as many as the data has, 256 for bytes");
  v.field("d_model", d_model, {.min = 1, .max = 65536}, "width of the residual stream");
  v.field("layers", layers, {.min = 1, .max = 1024}, "number of layers, each one attention and one feedforward");
  v.field("layer_group", layer_group, {.min = 0, .max = 1024},
          "layers with parameters of their own: the group is repeated until there are `layers`, as in MoEUT; 0: every "
          "layer has its own");
  v.field("norm", norm, {"pre", "peri"},
          "what the layer norms feed: all of a layer, or only its queries, keys and the selection of experts, so that "
          "values and experts work on the residual stream itself, as in MoEUT");
  v.field("attention", attention, registry<AttentionKind>().names(),
          registry<AttentionKind>().help("what mixes the tokens of a transformer-xl").c_str());
  v.field("heads", heads, {.min = 1, .max = 1024}, "attention heads per layer");
  v.field("head_size", head_size, {.min = 1, .max = 4096}, "width of a head; heads x head_size need not be d_model");
  v.field("attention_experts", attention_experts, {.min = 1, .max = 65536},
          "switch-head: value experts, and output experts, of each head; 1: dense, with a gate on each head's output");
  v.field("attention_k", attention_k, {.min = 1, .max = 65536}, "switch-head: experts of each head that a token uses");
  v.field("attention_expert_dropout", attention_expert_dropout, {.min = 0, .below = 1},
          "switch-head: probability with which an expert cannot be selected by a token in training");
  v.field("attention_regulariser_weight", attention_regulariser_weight, {.min = 0, .max = 1e6},
          "switch-head: factor on the entropy term of its selections, per sequence and head");
  v.field("dropout", dropout, {.min = 0, .below = 1}, "probability with which activations are dropped in training");
  v.field("segment", segment, {.min = 1, .max = 1 << 20}, "tokens of one sequence that a step sees");
  v.field("memory", memory, {.min = -1, .max = 1 << 20},
          "tokens before the segment that attention still sees in training; -1: as many as the segment has");
  v.field("checkpoint_activations", checkpoint_activations,
          "compute each layer again in the backward pass instead of keeping its activations: less memory, more time");
  v.field(
      "precision", precision, {"float32", "tf32", "bf16"},
      "type of activations; weights and reductions stay in float32. tf32: float32, but for speed a GPU may round the "
      "factors of dense products and of experts' to 11 bits, and a CPU's matrix unit those of all products to 16");
}

void FeedforwardConfig::visit(FieldVisitor& v) {
  v.field("kind", kind, registry<FeedforwardKind>().names(),
          registry<FeedforwardKind>().help("what stands between two attentions").c_str());
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
  v.field("bias_update_rate", bias_update_rate, {.min = 0, .max = 1},
          "bias-balanced: how far a step moves an expert's bias towards even use");
  v.field("sub_keys", sub_keys, {.min = 1, .max = 46340}, "sub-keys of each half and head of pkm, whose square values");
  v.field("key_heads", key_heads, {.min = 1, .max = 1024}, "heads of pkm, which share the values");
  v.field("activation", activation, {"relu", "softmax"}, "what pkm makes of its scores");
  v.field("init", init, registry<routing::Initialisation>().names(),
          registry<routing::Initialisation>().help("initial scale of the experts' second matrix").c_str());
}

}  // namespace weir
