#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// x where it is at most `limit`, not a number elsewhere, element by element, with broadcasting; no gradient. So what a
// device must not go on with marks itself, and nobody has to read it there.
Tensor nan_above(const Tensor& x, const Tensor& limit);

extern Kernel<void(const Tensor& x, const Tensor& limit, const Tensor& y)> nan_above_kernel;

}  // namespace weir
