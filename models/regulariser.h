// Loss terms that keep all experts in use, from raw selection logits [N, E]. Each is a tensor of one element, without
// its weight.
#pragma once

#include <span>
#include <vector>

#include "core/tensor.h"

namespace weir {

// What the regulariser of a module needs of one call: tensors [B, T, ...]; none where there is no regulariser.
using RegulariserInputs = std::vector<Tensor>;
// Those of several calls of the same module as if they were one call with more tokens: joined along T.
RegulariserInputs join_calls(std::span<const RegulariserInputs> calls);

// sum over e of m[e] ln m[e], m = mean over tokens of softmax(logits): minus the entropy in nats, so least (-ln E)
// where all experts are selected alike (Csordas et al. 2023, eq. 20-21).
Tensor entropy_regulariser(const Tensor& logits);
// The same for each sequence of logits [B, T, E], or each sequence and head of [B, T, H, E], with m the mean over T;
// then their mean (Csordas et al. 2024, MoEUT).
Tensor sequence_entropy_regulariser(const Tensor& logits);

// (1 / E) * sum over e of f[e] m[e], f = the share of selections in `index` [R, K] that went to e, a constant in the
// gradient. The authors' code averages over experts where the paper's eq. 17 multiplies by E; this is the code's.
Tensor switch_regulariser(const Tensor& logits, const Tensor& index);

// std / mean over the experts, with load[e] the sum of the gates [R, K] that `index` [R, K] gave to e and std the root
// of the mean of (load - mean)^2 (Shazeer et al. 2017, whose loss has the square of this).
Tensor importance_regulariser(const Tensor& gate, const Tensor& index, std::int64_t experts);

}  // namespace weir
