// The configuration of a model: what its shape and its feedforward are.
#pragma once

#include <cstdint>
#include <string>

#include "core/fields.h"

namespace weir {

struct ModelConfig {
  std::int64_t vocabulary = 256;
  std::int64_t d_model = 128;
  std::int64_t layers = 4;
  std::int64_t heads = 4;
  std::int64_t head_size = 32;
  double dropout = 0.0;
  std::int64_t segment = 128;
  std::int64_t memory = -1;
  bool checkpoint_activations = false;
  std::string precision = "float32";

  // Tokens of memory in training, with -1 resolved.
  std::int64_t memory_length() const { return memory < 0 ? segment : memory; }

  void visit(FieldVisitor& v) {
    v.field("vocabulary", vocabulary, {.min = 2, .max = 1 << 24}, "number of different tokens; 256 for bytes");
    v.field("d_model", d_model, {.min = 1, .max = 65536}, "width of the residual stream");
    v.field("layers", layers, {.min = 1, .max = 1024}, "number of layers, each one attention and one feedforward");
    v.field("heads", heads, {.min = 1, .max = 1024}, "attention heads per layer");
    v.field("head_size", head_size, {.min = 1, .max = 4096}, "width of a head; heads x head_size need not be d_model");
    v.field("dropout", dropout, {.min = 0, .below = 1}, "probability with which activations are dropped in training");
    v.field("segment", segment, {.min = 1, .max = 1 << 20}, "tokens of one sequence that a step sees");
    v.field("memory", memory, {.min = -1, .max = 1 << 20},
            "tokens before the segment that attention still sees in training; -1: as many as the segment has");
    v.field("checkpoint_activations", checkpoint_activations,
            "compute each layer again in the backward pass instead of keeping its activations: less memory, more time");
    v.field("precision", precision, {"float32", "bf16"}, "type of activations; weights and reductions stay in float32");
  }
  bool operator==(const ModelConfig&) const = default;
};

struct FeedforwardConfig {
  std::string kind = "sigma-moe";
  std::int64_t d_ff = 512;
  std::int64_t experts = 8;
  std::int64_t expert_size = 64;
  std::int64_t k = 2;
  std::string gate = "sigmoid";
  double expert_dropout = 0.0;
  double dropout_experts = 0.0;
  std::string regulariser = "entropy";
  double regulariser_weight = 1e-3;
  std::string init = "dense-equivalent";

  void visit(FieldVisitor& v) {
    v.field("kind", kind, {"dense", "sigma-moe"}, "what stands between two attentions");
    v.field("d_ff", d_ff, {.min = 1, .max = 1 << 24}, "hidden units of the dense feedforward");
    v.field("experts", experts, {.min = 1, .max = 65536}, "experts per layer");
    v.field("expert_size", expert_size, {.min = 1, .max = 65536}, "hidden units per expert");
    v.field("k", k, {.min = 1, .max = 65536}, "experts that each token uses");
    v.field("gate", gate, {"sigmoid", "softmax", "softmax-after-topk"},
            "how a selection score becomes the factor on an expert's output; softmax-after-topk makes them sum to 1");
    v.field("expert_dropout", expert_dropout, {.min = 0, .below = 1},
            "probability with which an expert cannot be selected by a token in training");
    v.field("dropout_experts", dropout_experts, {.min = 0, .below = 1},
            "probability with which a hidden unit inside the experts is dropped in training");
    v.field(
        "regulariser", regulariser, {"none", "entropy", "entropy-selected", "switch"},
        "loss term that keeps all experts in use: entropy of the mean selection; the same over the k selected scores "
        "alone, as the authors' code has it with softmax-after-topk; or the Switch Transformer's");
    v.field("regulariser_weight", regulariser_weight, {.min = 0, .max = 1e6}, "factor on the regulariser's loss term");
    v.field("init", init, {"dense-equivalent", "standard"},
            "scale of the experts' down projection: for experts x expert_size inputs, or for expert_size");
  }
  bool operator==(const FeedforwardConfig&) const = default;
};

}  // namespace weir
