// The language model of the paper: a pre-layernorm Transformer-XL with untied output.
//
//   X = dropout(embedding[ids])
//   per layer:  X = X + dropout(attention(LN1([memory; X])))     X = X + dropout(feedforward(LN2(X)))
//   logits = dropout(LN_out(X)) W_out^T + b_out
//
// Layers may share parameters: a group of them is repeated (MoEUT). A layer below is one that is run; two of them may
// be the same parameters, but each has its memory, its random numbers and its statistics.
//
// Dimensions: B sequences, T tokens of a segment, M of memory, D d_model, V vocabulary.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/attention.h"
#include "models/config.h"
#include "models/feedforward.h"
#include "models/layers.h"

namespace weir {

// What attention carries from segment to segment: per layer the layer's last inputs, [B, M, D], without gradient.
// Empty at the start of a stream.
struct Memory {
  std::vector<Tensor> layers;
  std::int64_t length() const { return layers.empty() ? 0 : layers[0].size(1); }
};

struct LanguageModelOutput {
  Tensor logits;          // [B, T, V]
  Tensor auxiliary_loss;  // sum of the layers' regularisers, one element; undefined where there is none
  Memory memory;          // to pass with the next segment
  std::vector<FeedforwardStatistics> statistics;  // per layer, if asked for
};

class TransformerXl {
 public:
  // Declares the parameters; initialise() makes them.
  TransformerXl(const ModelConfig& model, const FeedforwardConfig& feedforward);
  // Parameters in float32, or in float64 for checks (activations then are float64 too).
  void initialise(std::uint64_t seed, DType parameter_dtype = DType::float32, Device device = {});

  // ids: [B, T] integers. Keeps the last `memory_length` positions as memory.
  LanguageModelOutput operator()(const Tensor& ids, const Memory& memory, std::int64_t memory_length,
                                 const ForwardContext& context) const;

  const ParameterSet& parameters() const { return parameters_; }
  const ModelConfig& config() const { return config_; }
  const Attention& attention(std::size_t layer) const { return *parameters_of(layer).attention; }
  const Feedforward& feedforward(std::size_t layer) const { return *parameters_of(layer).feedforward; }
  DType activation_dtype() const { return activation_dtype_; }
  Device device() const { return parameters_.values().device(); }

 private:
  struct Layer {
    LayerNorm norm1, norm2;
    std::unique_ptr<Attention> attention;
    std::unique_ptr<Feedforward> feedforward;
  };
  struct LayerOutput {
    AttentionOutput attention;
    FeedforwardOutput feedforward;   // y: the layer's output
    std::vector<Tensor*> tensors();  // all that are defined
  };
  const Layer& parameters_of(std::size_t layer) const { return layers_[layer % layers_.size()]; }
  LayerOutput run_layer(std::size_t index, const Tensor& x, const Tensor& memory, const ForwardContext& context) const;
  LayerOutput run_layer_checkpointed(std::size_t index, const Tensor& x, const Tensor& memory,
                                     const ForwardContext& context) const;
  // The sum of what `outputs`, one per layer, add to the loss.
  Tensor auxiliary_loss(std::span<const LayerOutput> outputs) const;

  ModelConfig config_;
  DType activation_dtype_ = DType::float32;
  ParameterSet parameters_;
  Embedding embedding_;
  std::vector<Layer> layers_;  // the distinct ones
  LayerNorm out_norm_;
  OutputProjection output_;
};

}  // namespace weir
