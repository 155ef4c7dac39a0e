#pragma once

#include "core/tensor.h"

namespace weir {

// The place of the largest element along `axis`, which must not be empty, as int32; the axis stays with extent 1 if
// `keep_axis`. Of equal maxima it is the first; NaN counts as larger than everything, as it does for amax. No gradient.
Tensor argmax(const Tensor& x, int axis, bool keep_axis = false);

}  // namespace weir
