#pragma once

#include "core/tensor.h"

namespace weir {

// `x` in another floating dtype: `x` itself where it has that dtype already. Integers and booleans become numbers too;
// they take no gradient.
Tensor cast(const Tensor& x, DType dtype);

}  // namespace weir
