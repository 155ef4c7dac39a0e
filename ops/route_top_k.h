// The router of a mixture of experts with sigmoid gates, behind its logits.
#pragma once

#include "core/kernel.h"
#include "core/philox.h"
#include "core/tensor.h"

namespace weir {

struct Routing {
  Tensor gate;   // [..., K]
  Tensor index;  // [..., K] int32
};

// The experts that a token uses and the factors on their outputs, from its logits [..., E]: `index` holds the places of
// the K largest, descending, and `gate` their sigmoids. Of equal logits the one with the lower index comes first; NaN
// counts as smaller than everything else.
//
// Expert dropout bars an expert from a token where random.uniform(i) < dropout, i being the row-major number of its
// logit: it then ranks below all that are not barred, and where it is taken because fewer than K are left, its gate is
// 0. The gradient of the gates goes to the chosen logits; the choice itself has none. Throws ArgumentError unless
// 1 <= k <= E and 0 <= dropout < 1.
Routing route_top_k(const Tensor& logits, std::int64_t k, double dropout = 0, const RandomStream& random = {});

// The same by keep_mask, top_k, take_along and sigmoid.
Routing route_top_k_composed(const Tensor& logits, std::int64_t k, double dropout = 0, const RandomStream& random = {});

// `values` with those where `keep` is 0 so far below the others that they rank last: so an expert is barred.
Tensor barred_last(const Tensor& values, const Tensor& keep);

extern Kernel<void(const Tensor& logits, double dropout, const RandomStream& random, const Tensor& gate,
                   const Tensor& index)>
    route_top_k_kernel;
// dlogits[..., index[..., k]] = dgate[..., k] gate[..., k] (1 - gate[..., k]), zero elsewhere.
extern Kernel<void(const Tensor& gate, const Tensor& index, const Tensor& dgate, const Tensor& dlogits)>
    route_top_k_backward_kernel;

}  // namespace weir
