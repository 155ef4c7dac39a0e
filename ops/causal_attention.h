// Causal attention, for decoders that keep the keys and values of earlier tokens.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace weir {

// B batches, T queries, S keys (S - T of earlier tokens, then the queries' own), H heads of P elements.
//   q [B, T, H, P], k and v [B, S, H, P]  ->  [B, T, H, P]
// Query i sees the keys j <= i + S - T:
//   logit[i, j] = scale * (q_i . k_j),   out_i = sum over j of softmax_j(logit[i, j]) v_j
// q, k and v share one floating dtype.
Tensor causal_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale);

}  // namespace weir
