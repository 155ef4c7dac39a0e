#pragma once

#include "core/tensor.h"

namespace weir {

// The same elements in row-major order under another shape: a view where memory allows, else a copy.
Tensor reshape(const Tensor& x, const Shape& shape);

}  // namespace weir
