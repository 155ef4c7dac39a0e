#pragma once

#include "core/tensor.h"

namespace weir {

// The elements whose index along `axis` is in [begin, end). A view.
Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end);

}  // namespace weir
