#include "ops/support/index.h"

#include <fmt/format.h>

#include <limits>

#include "core/error.h"

namespace weir {
namespace {

// "[3, 1]": the place of a row-major element.
std::string place_of(const Shape& shape, std::int64_t element) {
  Dims place = shape;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    place[axis] = element % shape[axis];
    element /= shape[axis];
  }
  return place.str();
}

}  // namespace

void check_int32(const char* op, const char* argument, const Tensor& t) {
  if (t.dtype() != DType::int32)
    throw ArgumentError(fmt::format("{}: expected {} of dtype int32, got {}", op, argument, dtype_name(t.dtype())));
}

void check_index_dtype(const char* op, const char* argument, const Tensor& t) {
  if (t.dtype() != DType::int64 && t.dtype() != DType::int32 && t.dtype() != DType::uint8)
    throw ArgumentError(
        fmt::format("{}: expected {} of dtype int64, int32 or uint8, got {}", op, argument, dtype_name(t.dtype())));
}

std::vector<std::int64_t> checked_index(const char* op, const char* argument, const Tensor& index, std::int64_t bound) {
  if (index.numel() > std::numeric_limits<std::int32_t>::max())
    throw ArgumentError(fmt::format("{}: {} of shape {} has more than 2^31 - 1 elements; split the batch", op, argument,
                                    index.shape().str()));
  const Tensor tensor = rows_form(converted(index, DType::int64));
  const auto rows = rows_of<std::int64_t>(tensor);
  std::vector<std::int64_t> values;
  values.reserve(static_cast<std::size_t>(index.numel()));
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    for (std::int64_t c = 0; c < rows.cols; ++c) {
      const std::int64_t value = rows.row(r)[c];
      if (value < 0 || value >= bound)
        throw ArgumentError(fmt::format("{}: {}{} is {}, expected 0 <= {} < {}", op, argument,
                                        place_of(index.shape(), r * rows.cols + c), value, argument, bound));
      values.push_back(value);
    }
  }
  return values;
}

IndexOrder stable_order(std::span<const std::int64_t> index, std::int64_t bound) {
  IndexOrder order{std::vector<std::int32_t>(index.size()),
                   std::vector<std::int64_t>(static_cast<std::size_t>(bound + 1))};
  for (std::int64_t v : index) ++order.offsets[static_cast<std::size_t>(v) + 1];
  for (std::size_t v = 1; v < order.offsets.size(); ++v) order.offsets[v] += order.offsets[v - 1];
  std::vector<std::int64_t> next = order.offsets;
  for (std::size_t i = 0; i < index.size(); ++i)
    order.positions[static_cast<std::size_t>(next[static_cast<std::size_t>(index[i])]++)] =
        static_cast<std::int32_t>(i);
  return order;
}

}  // namespace weir
