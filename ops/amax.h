#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// The largest element along `axis`, which must not be empty; the axis stays with extent 1 if `keep_axis`. NaN counts as
// larger than everything. The gradient goes to the first of equal maxima.
Tensor amax(const Tensor& x, int axis, bool keep_axis = false);

// The places of those maxima: [.., 1] int32, with `axis` moved to the end. Throws ArgumentError for `op`.
Tensor first_maxima(const char* op, const Tensor& x, int axis);

// index[.., 0] = place of the first maximum of the row. x: [.., E]; index: [.., 1] int32.
extern Kernel<void(const Tensor& x, const Tensor& index)> amax_kernel;

}  // namespace weir
