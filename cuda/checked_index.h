#pragma once

#include "core/tensor.h"

namespace weir::cuda {

// The elements of an int64, int32 or uint8 tensor as [numel] int32, in row-major order. One outside [0, bound) is noted
// (cuda/index_check.h) and becomes `bound`, so that whoever uses the result can leave it out. `op` and `argument` are
// literals. Throws ArgumentError where int32 cannot count the elements or the bound.
Tensor checked_index(const char* op, const char* argument, const Tensor& index, std::int64_t bound);

}  // namespace weir::cuda
