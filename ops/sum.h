#pragma once

#include <span>
#include <vector>

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// Sum over `axes` (which may count from the end); they stay with extent 1 if `keep_axes`. An empty sum is 0. Sums of
// bf16 are kept in float.
Tensor sum(const Tensor& x, std::span<const int> axes, bool keep_axes = false);
// Sum of all elements: a tensor of rank 0.
Tensor sum(const Tensor& x);
// Undoes broadcasting: sums `x` over the axes along which `shape` was stretched to x's shape.
Tensor sum_to_shape(const Tensor& x, const Shape& shape);

// y[k] = sum over j of x[k, j]; x: [K, J] view with any strides, y: [K].
extern Kernel<void(const Tensor& x, const Tensor& y)> sum_kernel;

}  // namespace weir
