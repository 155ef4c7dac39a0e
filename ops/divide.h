#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// a / b, element by element, with broadcasting. Same floating dtype on both sides.
Tensor divide(const Tensor& a, const Tensor& b);
inline Tensor operator/(const Tensor& a, const Tensor& b) { return divide(a, b); }

extern Kernel<void(const Tensor& a, const Tensor& b, const Tensor& y)> divide_kernel;

}  // namespace weir
