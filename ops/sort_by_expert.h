#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// The (token, slot) pairs of a routing, sorted by expert.
struct ExpertOrder {
  Tensor pairs;    // [N * K] int32: pair numbers n * K + k, by expert, within an expert ascending
  Tensor tokens;   // [N * K] int32: pairs / K
  Tensor offsets;  // [experts + 1] int64: the pairs of expert e are at offsets[e] .. offsets[e + 1] - 1
};

// index [N, K] int32: the experts chosen for each token. Throws ArgumentError for an expert outside [0, experts), with
// its position and value. Not differentiable.
ExpertOrder sort_by_expert(const Tensor& index, std::int64_t experts);

extern Kernel<void(const Tensor& index, const ExpertOrder& order)> sort_by_expert_kernel;

}  // namespace weir
