#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// x + term, element by element; the term is a constant.
Tensor add_scalar(const Tensor& x, double term);

extern Kernel<void(const Tensor& x, double term, const Tensor& y)> add_scalar_kernel;

}  // namespace weir
