// Positions ordered by an integer key, on the GPU.
#pragma once

#include "core/tensor.h"

namespace weir::cuda {

struct SortedKeys {
  Tensor keys;       // [n] int32, ascending
  Tensor positions;  // [n] int32: where the key stood; equal keys by position
};

// keys [n] int32, values 0 .. largest, with equal ones in the order in which they stand. Writes the positions into a
// tensor [n] int32 of the caller's if there is one.
SortedKeys stable_sort(const Tensor& keys, std::int64_t largest, const Tensor& positions = {});

// offsets[v] = how many of the sorted keys are below v; offsets [m] int32 or int64, for v = 0 .. m - 1. So the keys v
// are at offsets[v] .. offsets[v + 1] - 1.
void find_offsets(const Tensor& sorted_keys, const Tensor& offsets);

}  // namespace weir::cuda
