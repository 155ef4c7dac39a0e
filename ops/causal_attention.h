// Causal attention, fused, for decoders that keep the keys and values of earlier tokens: scores, mask, softmax and the
// weighted sum in one pass over blocks of queries.
#pragma once

#include <cstdint>

#include "core/float32_products.h"
#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// B batches, T queries, S keys (S - T of earlier tokens, then the queries' own), H heads of P elements.
//   q [B, T, H, P], k and v [B, S, H, P]  ->  [B, T, H, P]
// Query i sees the keys j <= i + S - T:
//   logit[i, j] = scale * (q_i . k_j),   out_i = sum over j of softmax_j(logit[i, j]) v_j
// q, k and v share one floating dtype; scores and softmax are computed in float (double for float64). Any strides;
// inputs with unit-stride rows, such as the filled part of a longer cache, are read where they are. The result and the
// gradients lie in memory as [B, T, H * P] and [B, S, H * P], so that merging their axes is a view.
Tensor causal_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                        Float32Products products = Float32Products::ieee);

// The same from other ops, where [B, H, T, S] scores fit in memory: the readable form, differentiable twice.
Tensor causal_attention_composed(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                                 Float32Products products = Float32Products::ieee);

struct CausalAttentionInputs {
  Tensor q, k, v;
  double scale;

  void for_each_tensor(auto&& f) const { f(q), f(k), f(v); }
};

struct CausalAttentionGradients {
  Tensor dq, dk, dv;

  void for_each_tensor(auto&& f) const { f(dq), f(dk), f(dv); }
};

// logsumexp [B, H, T], in the dtype of the sums: log of the sum of exp(logit) of each query, all backward needs to
// recompute the softmax.
extern Kernel<void(const CausalAttentionInputs& in, Float32Products products, const Tensor& out,
                   const Tensor& logsumexp)>
    causal_attention_kernel;
// Fills every gradient.
extern Kernel<void(const CausalAttentionInputs& in, const Tensor& out, const Tensor& logsumexp, const Tensor& dout,
                   Float32Products products, const CausalAttentionGradients& gradients)>
    causal_attention_backward_kernel;

}  // namespace weir
