// A pre-norm decoder with rotary positions:
//
//   X = dropout(embedding[ids])
//   per layer:  X = X + dropout(attention(norm1(X)))     X = X + dropout(feedforward(norm2(X)))
//   logits = dropout(norm_out(X)) W_out^T + b_out, or with the embedding in place of W_out
//
// Attention of H heads of P elements: softmax(q k^T / sqrt(P)) v over the tokens so far, with q and k rotated by their
// positions (RoPE). The memory is the keys, not yet rotated, and the values of the tokens before, [B, M, 2, H, P]: in
// generation the key-value cache, in training a memory as Transformer-XL has (none with model.memory = 0). Positions
// are counted from the oldest key that is still there; only their differences matter.
//
// w_q [H*P, D], w_kv [2*H*P, D] with rows ordered k or v, head, channel; w_o [D, H*P]; no biases. All start as
// truncated normals of std sqrt(2 / (layers * fan_in)), like the feedforwards.
#pragma once

#include "models/decoder.h"

namespace weir {

struct GptSettings {
  std::string norm = "layer";
  bool tied = false;
  double rotary_base = 10000;

  void visit(FieldVisitor& v);
  bool operator==(const GptSettings&) const = default;
};

struct NormKind {
  using Function = std::unique_ptr<Norm> (*)(ParameterSet& parameters, const std::string& name, std::int64_t d_model);
  static constexpr const char* setting = "gpt.norm";
};

class Gpt : public DecoderModel {
 public:
  // Throws ArgumentError where settings do not fit each other.
  Gpt(const ModelConfig& model, const FeedforwardConfig& feedforward);
};

}  // namespace weir
