#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// a * b, element by element, with broadcasting. Same floating dtype on both sides.
Tensor multiply(const Tensor& a, const Tensor& b);
inline Tensor operator*(const Tensor& a, const Tensor& b) { return multiply(a, b); }

extern Kernel<void(const Tensor& a, const Tensor& b, const Tensor& y)> multiply_kernel;

}  // namespace weir
