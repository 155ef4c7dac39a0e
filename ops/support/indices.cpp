#include "ops/support/indices.h"

#include <fmt/format.h>

#include "core/error.h"

namespace weir {

void check_index_dtype(const char* op, const char* argument, const Tensor& t) {
  if (t.dtype() != DType::int64 && t.dtype() != DType::int32 && t.dtype() != DType::uint8)
    throw ArgumentError(
        fmt::format("{}: expected {} of dtype int64, int32 or uint8, got {}", op, argument, dtype_name(t.dtype())));
}

namespace {

[[noreturn]] void refuse(const char* op, const char* argument, const Tensor& t, std::int64_t place, std::int64_t value,
                         std::int64_t bound) {
  Shape position = t.shape();
  for (int axis = t.rank() - 1; axis >= 0; --axis) {
    position[axis] = place % t.size(axis);
    place /= t.size(axis);
  }
  throw ArgumentError(fmt::format("{}: {} at position {} is {}, outside the {} values from 0 up to {}", op, argument,
                                  position.str(), value, bound, bound - 1));
}

}  // namespace

std::vector<std::int64_t> checked_indices(const char* op, const char* argument, const Tensor& t, std::int64_t bound) {
  std::vector<std::int64_t> result;
  if (t.numel() == 0) return result;
  const Tensor source = rows_form(converted(t, DType::int64));
  const auto rows = rows_of<std::int64_t>(source);
  result.reserve(static_cast<std::size_t>(t.numel()));
  for (std::int64_t r = 0; r < rows.rows; ++r)
    for (std::int64_t c = 0; c < rows.cols; ++c) {
      const std::int64_t value = rows.row(r)[c];
      if (value < 0 || value >= bound) refuse(op, argument, t, r * rows.cols + c, value, bound);
      result.push_back(value);
    }
  return result;
}

}  // namespace weir
