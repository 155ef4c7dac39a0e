// The configuration of a model: what its shape and its feedforward are.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/dtype.h"
#include "core/fields.h"
#include "core/float32_products.h"
#include "core/registry.h"

namespace weir {

class Feedforward;
class LanguageModel;
class ParameterSet;
struct FeedforwardConfig;
struct ModelConfig;

struct ModelKind {  // declares the parameters; throws ArgumentError where the settings do not fit each other
  using Function = std::unique_ptr<LanguageModel> (*)(const ModelConfig&, const FeedforwardConfig&);
  static constexpr const char* setting = "model.kind";
};

struct FeedforwardKind {  // declares the parameters of layer number `layer` under `name`; throws likewise
  using Function = std::unique_ptr<Feedforward> (*)(ParameterSet& parameters, const std::string& name,
                                                    std::int64_t layer, const ModelConfig& model,
                                                    const FeedforwardConfig& config);
  static constexpr const char* setting = "feedforward.kind";
};

struct ModelConfig {
  std::string kind = "transformer-xl";
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
  SettingsByName<ModelKind> own{};  // of single kinds of model

  // Tokens of memory in training, with -1 resolved.
  std::int64_t memory_length() const { return memory < 0 ? segment : memory; }
  DType activation_dtype() const { return precision == "bf16" ? DType::bf16 : DType::float32; }
  Float32Products float32_products() const {
    return precision == "tf32" ? Float32Products::tf32 : Float32Products::ieee;
  }
  // Standard deviation with which a matrix of a layer starts, so that all layers together add as much as one does.
  double matrix_std(std::int64_t fan_in) const;
  // Layers with parameters of their own, which repeat in their order until there are `layers`.
  std::int64_t distinct_layers() const { return layer_group == 0 ? layers : layer_group; }

  void visit(FieldVisitor& v);  // without `own`, which are sections of their own
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
  double bias_update_rate = 1e-3;
  std::int64_t sub_keys = 32;
  std::int64_t key_heads = 4;
  std::string activation = "relu";
  std::string init = "dense-equivalent";
  SettingsByName<FeedforwardKind> own{};  // of single kinds of feedforward

  void visit(FieldVisitor& v);  // without `own`
  bool operator==(const FeedforwardConfig&) const = default;
};

}  // namespace weir
