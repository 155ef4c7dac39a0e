// What attention ops have in common: how results lie in memory, and which keys a query sees.
#pragma once

#include <cstdint>

#include "core/kernel_cost.h"
#include "core/tensor.h"

namespace weir {

// Elements that a head may have on a GPU, where they lie in shared memory; any number on the CPU.
inline constexpr std::int64_t kGpuHeadSize = 256;

// Of so many products over every pair of a query of q [B, T, H, P] and one of the `keys` that it sees.
template <class... Arguments>
KernelCost attention_cost(int products, const Tensor& q, std::int64_t keys, const Arguments&... arguments) {
  const std::int64_t queries = q.size(1), pairs = queries * keys - queries * (queries - 1) / 2;
  return product_cost({products, pairs, q.size(0), q.size(2), q.size(3)}, arguments...);
}

// A fresh tensor whose axes from `first` on lie packed in one row.
Tensor empty_with_merged_row(const Shape& shape, int first, const Tensor& like);

// [T, S]: 0 where query i sees key j, which is for j <= i + S - T, minus infinity elsewhere.
Tensor causal_mask(std::int64_t queries, std::int64_t keys, const Tensor& like);

}  // namespace weir
