// Integer arguments that select rows or classes.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace weir {

// Throws ArgumentError unless `t` is int64, int32 or uint8.
void check_index_dtype(const char* op, const char* argument, const Tensor& t);

// The values in row-major order. Throws ArgumentError naming the first position whose value is not in [0, bound).
// Reads values, so it belongs into CPU kernels.
std::vector<std::int64_t> checked_indices(const char* op, const char* argument, const Tensor& t, std::int64_t bound);

}  // namespace weir
