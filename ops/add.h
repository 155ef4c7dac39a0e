#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// a + b, element by element, with broadcasting. Same floating dtype on both sides.
Tensor add(const Tensor& a, const Tensor& b);
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }

extern Kernel<void(const Tensor& a, const Tensor& b, const Tensor& y)> add_kernel;

}  // namespace weir
