#pragma once

#include "core/tensor.h"

namespace weir {

// `x` with `before` zeros ahead of it and `after` zeros behind it along `axis`.
Tensor pad(const Tensor& x, int axis, std::int64_t before, std::int64_t after);

}  // namespace weir
