#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// -x, element by element.
Tensor negate(const Tensor& x);
inline Tensor operator-(const Tensor& x) { return negate(x); }

extern Kernel<void(const Tensor& x, const Tensor& y)> negate_kernel;

}  // namespace weir
