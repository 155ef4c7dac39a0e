#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// x * factor, element by element; the factor is a constant.
Tensor scale(const Tensor& x, double factor);

extern Kernel<void(const Tensor& x, double factor, const Tensor& y)> scale_kernel;

}  // namespace weir
