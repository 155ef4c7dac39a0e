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

}  // namespace weir
