#pragma once

#include <span>

#include "core/tensor.h"

namespace weir {

// Axis i of the result is axis axes[i] of `x`; every axis is named once (they may count from the end). A view.
Tensor permute(const Tensor& x, std::span<const int> axes);
// Axes a and b exchanged. A view.
Tensor transpose(const Tensor& x, int a, int b);

}  // namespace weir
