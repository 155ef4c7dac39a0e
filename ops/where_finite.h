#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// x where `guard` is finite, y elsewhere; x and y of one shape, to which guard broadcasts; no gradient. So a device
// takes up a new value, or keeps the old one, by what it has computed itself.
Tensor where_finite(const Tensor& guard, const Tensor& x, const Tensor& y);

extern Kernel<void(const Tensor& guard, const Tensor& x, const Tensor& y, const Tensor& out)> where_finite_kernel;

}  // namespace weir
