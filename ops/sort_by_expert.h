#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// The (token, slot) pairs of a routing, sorted by expert. With H heads, whose experts are their own, expert e of head h
// counts as number h * experts + e; H is 1 where there are no heads.
struct ExpertOrder {
  Tensor pairs;    // [N * H * K] int32: pair numbers (n * H + h) * K + k, by expert, within an expert ascending
  Tensor tokens;   // [N * H * K] int32: pairs / (H * K)
  Tensor offsets;  // [H * experts + 1] int64: the pairs of expert e are at offsets[e] .. offsets[e + 1] - 1

  void for_each_tensor(auto&& f) const { f(pairs), f(tokens), f(offsets); }
};

// index [N, K] or [N, H, K] int32: the experts chosen for each token, or for each head of each token. Throws
// ArgumentError for an expert outside [0, experts), with its position and value. Not differentiable.
ExpertOrder sort_by_expert(const Tensor& index, std::int64_t experts);

extern Kernel<void(const Tensor& index, const ExpertOrder& order)> sort_by_expert_kernel;

}  // namespace weir
