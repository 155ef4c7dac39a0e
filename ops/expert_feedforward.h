#pragma once

#include "core/float32_products.h"
#include "core/kernel.h"
#include "core/philox.h"
#include "core/tensor.h"

namespace weir {

// What happens to the gated hidden units gate[n, k] · relu(x[n] w1[e]) before w2, in this order.
struct ExpertOptions {
  double dropout = 0;         // drops each with this probability and divides the others by 1 - dropout
  std::int64_t hidden_k = 0;  // keeps the so many largest of a token's K * G, with all that equal the last; 0: all
  RandomStream random = {};   // unit g of pair (n, k) is element (n * K + k) * G + g
};

// The experts of a σ-MoE layer: y[n] = sum over k of gate[n, k] · relu(x[n] w1[e]) w2[e] with e = index[n, k].
// x [N, D], gate [N, K], index [N, K] int32, w1 [E, D, G], w2 [E, G, D], y [N, D]. All of one floating dtype; with bf16
// x, the gate may be float32, and so may both weights: these are rounded to bf16 once per call and their gradients are
// float32. An expert may be chosen by no token (its gradient is zero) or twice by the same one. Throws ArgumentError
// for an expert outside [0, E), with its position and value. One fused kernel: differentiable once.
Tensor expert_feedforward(const Tensor& x, const Tensor& gate, const Tensor& index, const Tensor& w1, const Tensor& w2,
                          const ExpertOptions& options = {}, Float32Products products = Float32Products::ieee);

// The same from gather_rows, grouped_matmul, relu, multiply and scatter_add_rows: the reference, differentiable any
// number of times.
Tensor expert_feedforward_composed(const Tensor& x, const Tensor& gate, const Tensor& index, const Tensor& w1,
                                   const Tensor& w2, const ExpertOptions& options = {},
                                   Float32Products products = Float32Products::ieee);

// What the forward kernel leaves for the backward one. Rows are sorted by expert, R >= N * K of them: a kernel may add
// zero rows at the end of each expert's to round up their number.
struct ExpertFeedforwardState {
  Tensor w1, w2;          // in x's dtype
  Tensor hidden;          // [R, G] after ReLU, before the gate; dropped units are 0, kept ones divided by 1 - dropout
  Tensor pair_of_row;     // [R] int32: n * K + k, or -1 in an added row
  Tensor row_of_pair;     // [N * K] int32
  Tensor offsets;         // [E + 1] int64: expert e has rows offsets[e] .. offsets[e + 1] - 1
  double kept_scale = 1;  // 1 / (1 - dropout)

  void for_each_tensor(auto&& f) const { f(w1), f(w2), f(hidden), f(pair_of_row), f(row_of_pair), f(offsets); }
};
struct ExpertFeedforwardGradients {
  // x in its dtype; the others may come in the dtype that sums are kept in. w1 and w2 may be given, to be written to.
  Tensor x, gate, w1, w2;

  void for_each_tensor(auto&& f) const { f(x), f(gate), f(w1), f(w2); }
};

extern Kernel<void(const Tensor& x, const Tensor& gate, const Tensor& index, const Tensor& w1, const Tensor& w2,
                   const ExpertOptions& options, Float32Products products, const Tensor& y,
                   ExpertFeedforwardState& state)>
    expert_feedforward_kernel;
extern Kernel<void(const Tensor& x, const Tensor& gate, const ExpertFeedforwardState& state, const Tensor& dy,
                   Float32Products products, ExpertFeedforwardGradients& gradients)>
    expert_feedforward_backward_kernel;

}  // namespace weir
