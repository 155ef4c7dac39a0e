#pragma once

#include "core/tensor.h"

namespace weir {

// `x` stretched to `shape`: a view with stride 0 along axes of extent 1 and along added leading axes.
Tensor broadcast_to(const Tensor& x, const Shape& shape);

}  // namespace weir
