// A stack of layers between an embedding and an output:
//
//   X = dropout(embedding[ids])
//   per layer: X = layer(X, memory)
//   logits = dropout(norm(X)) W_out^T + b_out
//
// What a layer computes, and what it carries from segment to segment, is the model's own: it gives a function that
// declares one. Layers may share parameters: a group of them is repeated (MoEUT). A layer below is one that is run; two
// of them may be the same parameters, but each has its memory, its random numbers and its statistics.
//
// Dimensions: B sequences, T tokens of a segment, M of memory, D d_model, V vocabulary.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/attention.h"
#include "models/feedforward.h"
#include "models/language_model.h"
#include "models/layers.h"

namespace weir {

class DecoderLayer {
 public:
  struct Output {
    Tensor y;                              // [B, T, D]
    Tensor carried;                        // what next_memory() wants to know of this call; without gradient
    AttentionOutput attention;             // but for y
    FeedforwardOutput feedforward;         // but for y
    std::vector<Tensor*> with_gradient();  // all that are defined
  };

  virtual ~DecoderLayer() = default;
  // x: [B, T, D]; memory: what next_memory() returned, or undefined.
  virtual Output operator()(const Tensor& x, const Tensor& memory, const ForwardContext& context) const = 0;
  // The last `length` positions of what came before and of this call, [B, M, ...], without gradient.
  virtual Tensor next_memory(const Tensor& memory, const Tensor& x, const Output& output,
                             std::int64_t length) const = 0;
  virtual Shape memory_shape(std::int64_t sequences, std::int64_t length) const = 0;
  virtual std::int64_t idle_parameters() const = 0;  // of attention and feedforward: that one token does not use
  virtual const Feedforward& feedforward() const = 0;
  // What the attention of a shared layer adds to the loss, of all its calls.
  virtual Tensor attention_loss(const RegulariserInputs&) const { return {}; }
};

class DecoderModel : public LanguageModel {
 public:
  using MakeLayer =
      std::function<std::unique_ptr<DecoderLayer>(ParameterSet&, const std::string& name, std::int64_t layer)>;
  using MakeNorm = std::function<std::unique_ptr<Norm>(ParameterSet&, const std::string& name)>;
  enum class Output { own_matrix, embedding };  // what the logits are made with: W_out, b_out, or the embedding alone

  DecoderModel(const ModelConfig& config, const MakeLayer& make_layer, const MakeNorm& make_norm, Output output);

  LanguageModelOutput operator()(const Tensor& ids, const Memory& memory, std::int64_t memory_length,
                                 const ForwardContext& context) const override;
  std::vector<Shape> memory_shapes(std::int64_t sequences, std::int64_t length) const override;
  std::int64_t active_parameters() const override;

  const DecoderLayer& layer(std::size_t index) const { return *layers_[index % layers_.size()]; }
  const Feedforward& feedforward(std::size_t index) const { return layer(index).feedforward(); }

 private:
  DecoderLayer::Output run(std::size_t index, const Tensor& x, const Tensor& memory,
                           const ForwardContext& context) const;
  DecoderLayer::Output run_checkpointed(std::size_t index, const Tensor& x, const Tensor& memory,
                                        const ForwardContext& context) const;
  // The sum of what `outputs`, one per layer, add to the loss.
  Tensor auxiliary_loss(std::span<const DecoderLayer::Output> outputs) const;
  Tensor logits(const Tensor& x, const ForwardContext& context) const;

  Embedding embedding_;
  std::vector<std::unique_ptr<DecoderLayer>> layers_;  // the distinct ones
  std::unique_ptr<Norm> out_norm_;
  std::unique_ptr<OutputProjection> output_;  // null where the embedding serves
};

// The last `length` positions of [before; now] along axis 1. Where `now` alone is long enough its storage is shared.
Tensor last_positions(const Tensor& before, const Tensor& now, std::int64_t length);

}  // namespace weir
