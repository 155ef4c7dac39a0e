#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// e^x, element by element.
Tensor exp(const Tensor& x);

extern Kernel<void(const Tensor& x, const Tensor& y)> exp_kernel;

}  // namespace weir
