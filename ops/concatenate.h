#pragma once

#include <span>

#include "core/tensor.h"

namespace weir {

// The parts (at least one) side by side along `axis`. Same dtype everywhere; all other extents are equal.
Tensor concatenate(std::span<const Tensor> parts, int axis);

}  // namespace weir
