// The configuration of a model: what its shape and its feedforward are.
#pragma once

#include <cstdint>
#include <string>

#include "core/dtype.h"
#include "core/fields.h"
#include "core/float32_products.h"

namespace weir {

struct ModelConfig {
  std::int64_t vocabulary = 256;
  std::int64_t d_model = 128;
  std::int64_t layers = 4;
  std::int64_t layer_group = 0;
  std::string norm = "pre";
  std::string attention = "relative";
  std::int64_t heads = 4;
  std::int64_t head_size = 32;
  std::int64_t attention_experts = 4;
  std::int64_t attention_k = 2;
  double attention_expert_dropout = 0.0;
  double attention_regulariser_weight = 1e-3;
  double dropout = 0.0;
  std::int64_t segment = 128;
  std::int64_t memory = -1;
  bool checkpoint_activations = false;
  std::string precision = "float32";

  // Tokens of memory in training, with -1 resolved.
  std::int64_t memory_length() const { return memory < 0 ? segment : memory; }
  DType activation_dtype() const { return precision == "bf16" ? DType::bf16 : DType::float32; }
  Float32Products float32_products() const {
    return precision == "tf32" ? Float32Products::tf32 : Float32Products::ieee;
  }
  // Layers with parameters of their own, which repeat in their order until there are `layers`.
  std::int64_t distinct_layers() const { return layer_group == 0 ? layers : layer_group; }

  void visit(FieldVisitor& v) {
    v.field("vocabulary", vocabulary, {.min = 0, .max = 1 << 24},
            "number of different tokens; 0: as many as the data has, 256 for bytes");
    v.field("d_model", d_model, {.min = 1, .max = 65536}, "width of the residual stream");
    v.field("layers", layers, {.min = 1, .max = 1024}, "number of layers, each one attention and one feedforward");
    v.field(
        "layer_group", layer_group, {.min = 0, .max = 1024},
        "layers with parameters of their own: the group is repeated until there are `layers`, as in MoEUT; 0: every "
        "layer has its own");
    v.field(
        "norm", norm, {"pre", "peri"},
        "what the layer norms feed: all of a layer, or only its queries, keys and the selection of experts, so that "
        "values and experts work on the residual stream itself, as in MoEUT");
    v.field("attention", attention, {"relative", "switch-head"},
            "Transformer-XL's attention, or the same with experts for values and output (SwitchHead)");
    v.field("heads", heads, {.min = 1, .max = 1024}, "attention heads per layer");
    v.field("head_size", head_size, {.min = 1, .max = 4096}, "width of a head; heads x head_size need not be d_model");
    v.field(
        "attention_experts", attention_experts, {.min = 1, .max = 65536},
        "switch-head: value experts, and output experts, of each head; 1: dense, with a gate on each head's output");
    v.field("attention_k", attention_k, {.min = 1, .max = 65536},
            "switch-head: experts of each head that a token uses");
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
  bool operator==(const ModelConfig&) const = default;
};

struct FeedforwardConfig {
  std::string kind = "moe";
  std::int64_t d_ff = 512;
  std::int64_t experts = 8;
  std::int64_t expert_size = 64;
  std::int64_t k = 2;
  std::string scores = "linear";
  std::string selection = "top-k";
  std::string gate = "sigmoid";
  std::int64_t hidden_k = 0;
  double expert_dropout = 0.0;
  double dropout_experts = 0.0;
  std::string regulariser = "entropy";
  double regulariser_weight = 1e-3;
  std::int64_t sub_keys = 32;
  std::int64_t key_heads = 4;
  std::string activation = "relu";
  std::string init = "dense-equivalent";

  void visit(FieldVisitor& v);
  bool operator==(const FeedforwardConfig&) const = default;
};

// The rules that join fields; throws ArgumentError naming both keys.
void validate(const ModelConfig& model, const FeedforwardConfig& feedforward);

}  // namespace weir
