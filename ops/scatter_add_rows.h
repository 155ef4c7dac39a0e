#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y[n, :] = sum over the r with index[r] = n of x[r, :], in the order of r; x [R, D], index [R] int32, y [rows, D].
// Throws ArgumentError for an index outside [0, rows), with its position and value. The gradient is gather_rows.
Tensor scatter_add_rows(const Tensor& x, const Tensor& index, std::int64_t rows);

extern Kernel<void(const Tensor& x, const Tensor& index, const Tensor& y)> scatter_add_rows_kernel;

}  // namespace weir
