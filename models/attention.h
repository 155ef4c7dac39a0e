// The attention of a layer: one interface, what its variants share, and the function that chooses one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "models/config.h"
#include "models/forward_context.h"
#include "models/parameter.h"
#include "models/regulariser.h"

namespace weir {

struct AttentionOutput {
  Tensor y;                                 // [B, T, D]
  Tensor auxiliary_loss{};                  // as of a feedforward
  RegulariserInputs regulariser_inputs{};   // of a shared layer, in place of the auxiliary loss
  std::vector<Observation> observations{};  // in training, for the buffers that it declared
};

class Attention {
 public:
  virtual ~Attention() = default;
  // x: [B, S, D], memory first, already normalised; the last `queries` positions attend. `values`: what the values are
  // made of, x itself or another tensor like it.
  virtual AttentionOutput operator()(const Tensor& x, const Tensor& values, std::int64_t queries,
                                     const ForwardContext& context) const = 0;
  // The auxiliary loss of the calls that these come from; undefined for none.
  virtual Tensor auxiliary_loss(const RegulariserInputs&) const { return {}; }
  virtual std::int64_t idle_parameters() const { return 0; }  // that one token does not use
};

struct AttentionKind {
  using Function = std::unique_ptr<Attention> (*)(ParameterSet& parameters, const std::string& name, std::int64_t layer,
                                                  const ModelConfig& model);
  static constexpr const char* setting = "model.attention";
};

// Declares the parameters of layer number `layer` under `name` and returns its attention. Throws ArgumentError where
// its settings do not fit each other.
std::unique_ptr<Attention> make_attention(ParameterSet& parameters, const std::string& name, std::int64_t layer,
                                          const ModelConfig& model);

// Rows of sinusoids for the relative positions -(keys - 1) .. 0: entry 2k is sin(rho * 10000^(-2k / D)), entry 2k + 1
// its cosine. -> [keys, D]
Tensor sinusoids(std::int64_t keys, std::int64_t d_model, DType dtype, Device device = {});

// The sinusoids of as many positions as were asked for.
class RelativePositions {
 public:
  explicit RelativePositions(std::int64_t d_model) : d_model_(d_model) {}
  Tensor operator()(std::int64_t keys, DType dtype, Device device) const;

 private:
  std::int64_t d_model_;
  mutable std::map<std::tuple<DType, DeviceKind, int>, std::vector<Tensor>> rows_;
};

}  // namespace weir
