// Attention with relative positions (Transformer-XL), fused: scores, relative shift, causal mask, softmax and the
// weighted sum in one pass over blocks of queries.
#pragma once

#include <cstdint>

#include "core/float32_products.h"
#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// B batches, T queries, S keys (M = S - T memory positions, then the queries' own), H heads of P elements.
//   q [B, T, H, P], kv [B, S, H, 2, P] (keys, then values), r [S, H, P], u and v [H, P], scale [1]  ->  [B, T, H, P]
// Query i stands at position i + M and sees the keys j <= i + M. Row c of r belongs to the relative position
// c - (S - 1), so the pair (i, j) uses row S - 1 - (i + M) + j:
//   logit[i, j] = scale * ((q_i + u) . k_j + (q_i + v) . r_c),   out_i = sum over j of softmax_j(logit[i, j]) v_j
// q, kv and r share one floating dtype; u, v and scale have the same one, or float32 beside bf16. Scores and softmax
// are computed in float (double for float64). Any strides; inputs with unit-stride rows are read where they are.
// The result, dq, dkv and dr lie in memory as [B, T, H * P], [B, S, H * 2 * P] and [S, H * P], so that merging their
// axes is a view.
Tensor relative_attention(const Tensor& q, const Tensor& kv, const Tensor& r, const Tensor& u, const Tensor& v,
                          const Tensor& scale, Float32Products products = Float32Products::ieee);

// The same from other ops, where [B, H, T, S] scores fit in memory: the readable form, differentiable twice. Its result
// lies in memory as [B, H, T, P].
Tensor relative_attention_composed(const Tensor& q, const Tensor& kv, const Tensor& r, const Tensor& u, const Tensor& v,
                                   const Tensor& scale, Float32Products products = Float32Products::ieee);

// The inputs of relative_attention, with u, v and scale in the dtype of the sums (float32 for bf16).
struct RelativeAttentionInputs {
  Tensor q, kv, r, u, v, scale;

  void for_each_tensor(auto&& f) const { f(q), f(kv), f(r), f(u), f(v), f(scale); }
};

// logsumexp [B, H, T], in the dtype of the sums: log of the sum of exp(logit) of each query, all backward needs to
// recompute the softmax.
extern Kernel<void(const RelativeAttentionInputs& in, Float32Products products, const Tensor& out,
                   const Tensor& logsumexp)>
    relative_attention_kernel;
// Fills every gradient.
extern Kernel<void(const RelativeAttentionInputs& in, const Tensor& out, const Tensor& logsumexp, const Tensor& dout,
                   Float32Products products, const RelativeAttentionInputs& gradients)>
    relative_attention_backward_kernel;

}  // namespace weir
