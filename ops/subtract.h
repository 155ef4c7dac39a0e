#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// a - b, element by element, with broadcasting. Same floating dtype on both sides.
Tensor subtract(const Tensor& a, const Tensor& b);
inline Tensor operator-(const Tensor& a, const Tensor& b) { return subtract(a, b); }

extern Kernel<void(const Tensor& a, const Tensor& b, const Tensor& y)> subtract_kernel;

}  // namespace weir
