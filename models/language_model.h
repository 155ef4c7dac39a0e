// A language model: what training, evaluation and generation need of one. Each kind registers itself, with a function
// that declares its parameters (ModelKind in models/config.h).
//
// Dimensions: B sequences, T tokens of a segment, M of memory, V vocabulary.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/config.h"
#include "models/forward_context.h"
#include "models/parameter.h"
#include "models/statistics.h"

namespace weir {

// What a model carries from segment to segment of a stream: a tensor [B, M, ...] per layer, without gradient. Empty at
// the start of a stream.
struct Memory {
  std::vector<Tensor> layers;
  std::int64_t length() const { return layers.empty() ? 0 : layers[0].size(1); }
};

struct LanguageModelOutput {
  Tensor logits;          // [B, T, V]
  Tensor auxiliary_loss;  // sum of the layers' regularisers, one element; undefined where there is none
  Memory memory;          // to pass with the next segment
  std::vector<FeedforwardStatistics> statistics;  // per layer, if asked for
  std::vector<Observation> observations;          // in training, of all layers: what the buffers are updated by
};

class LanguageModel {
 public:
  explicit LanguageModel(const ModelConfig& config);  // throws ArgumentError for a vocabulary of less than two tokens
  virtual ~LanguageModel() = default;
  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;

  // Makes the parameters, in float32, or in float64 for checks (activations then are float64 too).
  void initialise(std::uint64_t seed, DType parameter_dtype = DType::float32, Device device = {});

  // ids: [B, T] integers. Keeps the last `memory_length` positions as memory.
  virtual LanguageModelOutput operator()(const Tensor& ids, const Memory& memory, std::int64_t memory_length,
                                         const ForwardContext& context) const = 0;
  // What a memory of `length` positions of `sequences` consists of: shapes by layer, in activation_dtype().
  virtual std::vector<Shape> memory_shapes(std::int64_t sequences, std::int64_t length) const = 0;
  // Parameters that one token uses; the embedding counts as one row, a shared layer as one use of it.
  virtual std::int64_t active_parameters() const { return parameters().count(); }

  const ParameterSet& parameters() const { return parameters_; }
  const ModelConfig& config() const { return config_; }
  DType activation_dtype() const { return activation_dtype_; }
  Device device() const { return parameters_.values().device(); }

 protected:
  ParameterSet& declare() { return parameters_; }

 private:
  ModelConfig config_;
  DType activation_dtype_ = DType::float32;
  ParameterSet parameters_;
};

// Declares the model that `model.kind` names. Throws ArgumentError, naming the keys, where settings do not fit each
// other.
std::unique_ptr<LanguageModel> make_language_model(const ModelConfig& model, const FeedforwardConfig& feedforward);

}  // namespace weir
