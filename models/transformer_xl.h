// The language model of the paper: a pre-layernorm Transformer-XL with untied output.
//
//   X = dropout(embedding[ids])
//   per layer:  X = X + dropout(attention(LN1([memory; X])))     X = X + dropout(feedforward(LN2(X)))
//   logits = dropout(LN_out(X)) W_out^T + b_out
//
// The memory is what went into the layer in the segments before: [B, M, D].
#pragma once

#include "models/decoder.h"

namespace weir {

class TransformerXl : public DecoderModel {
 public:
  // Throws ArgumentError where settings do not fit each other.
  TransformerXl(const ModelConfig& model, const FeedforwardConfig& feedforward);

  const Attention& attention(std::size_t index) const;
};

}  // namespace weir
