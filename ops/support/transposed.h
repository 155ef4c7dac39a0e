// The transpose that gradients of matrix products need.
#pragma once

#include "core/tensor.h"

namespace weir {

// The last two axes exchanged: a view [..., n, m] of x [..., m, n], differentiable.
Tensor transposed(const Tensor& x);

}  // namespace weir
