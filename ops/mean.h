#pragma once

#include <span>

#include "core/tensor.h"

namespace weir {

// Mean over `axes` (which may count from the end); they stay with extent 1 if `keep_axes`. The mean of nothing is NaN.
Tensor mean(const Tensor& x, std::span<const int> axes, bool keep_axes = false);
// Mean of all elements: a tensor of rank 0.
Tensor mean(const Tensor& x);

}  // namespace weir
