#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// y[r, :] = x[index[r], :]; x [N, D], index [R] int32, y [R, D]. Throws ArgumentError for an index outside [0, N), with
// its position and value. The gradient is scatter_add_rows.
Tensor gather_rows(const Tensor& x, const Tensor& index);

extern Kernel<void(const Tensor& x, const Tensor& index, const Tensor& y)> gather_rows_kernel;

}  // namespace weir
