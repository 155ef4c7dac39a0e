// Integer inputs that choose rows, classes or experts: reading, checking and sorting them on the CPU.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace weir {

void check_int32(const char* op, const char* argument, const Tensor& t);
// Throws ArgumentError unless `t` is int64, int32 or uint8.
void check_index_dtype(const char* op, const char* argument, const Tensor& t);

// The elements of an integer tensor in row-major order. Throws ArgumentError with the position and the value of the
// first one outside [0, bound). Reads values, so it belongs into CPU kernels.
std::vector<std::int64_t> checked_index(const char* op, const char* argument, const Tensor& index, std::int64_t bound);

// Positions ordered by the value of `index` there, equal values by position: the positions of value v are
// positions[offsets[v]] .. positions[offsets[v + 1] - 1].
struct IndexOrder {
  std::vector<std::int32_t> positions;
  std::vector<std::int64_t> offsets;  // [bound + 1]
};
IndexOrder stable_order(std::span<const std::int64_t> index, std::int64_t bound);

}  // namespace weir
