#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

struct TopK {
  Tensor values;   // [..., k], descending
  Tensor indices;  // [..., k] int32: places along the last axis
};

// The k largest elements of each row of x [..., E]. Of equal elements the one with the lower index comes first; NaN
// counts as smaller than everything else. The gradient of the values goes to the chosen places; the choice itself has
// none. Throws ArgumentError unless 1 <= k <= E.
TopK top_k(const Tensor& x, std::int64_t k);

extern Kernel<void(const Tensor& x, const Tensor& values, const Tensor& indices)> top_k_kernel;
// dx[..., indices[..., j]] = dvalues[..., j], zero elsewhere; and its inverse, dvalues[..., j] = dx[..., indices[...,
// j]].
extern Kernel<void(const Tensor& dvalues, const Tensor& indices, const Tensor& dx)> top_k_scatter_kernel;
extern Kernel<void(const Tensor& dx, const Tensor& indices, const Tensor& dvalues)> top_k_gather_kernel;

}  // namespace weir
