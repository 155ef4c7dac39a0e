#include "core/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"

namespace weir {

Dims::Dims(std::initializer_list<std::int64_t> values) : Dims(std::span(values.begin(), values.size())) {}

Dims::Dims(std::span<const std::int64_t> values) {
  if (values.size() > kMaxRank)
    throw ArgumentError(fmt::format("a shape has at most {} axes, got {}", kMaxRank, values.size()));
  std::copy(values.begin(), values.end(), values_.begin());
  rank_ = static_cast<int>(values.size());
}

Dims Dims::filled(int rank, std::int64_t value) {
  Dims dims;
  for (int i = 0; i < rank; ++i) dims.push_back(value);
  return dims;
}

void Dims::push_back(std::int64_t value) {
  if (rank_ == kMaxRank) throw ArgumentError(fmt::format("a shape has at most {} axes", kMaxRank));
  values_[static_cast<std::size_t>(rank_++)] = value;
}

Dims Dims::without(int axis) const {
  Dims result;
  for (int i = 0; i < rank_; ++i)
    if (i != (axis < 0 ? axis + rank_ : axis)) result.push_back((*this)[i]);
  return result;
}

Dims Dims::with(int axis, std::int64_t extent) const {
  Dims result = *this;
  result[axis] = extent;
  return result;
}

std::int64_t Dims::product() const {
  std::int64_t n = 1;
  for (std::int64_t extent : *this) n *= extent;
  return n;
}

std::string Dims::str() const { return fmt::format("[{}]", fmt::join(begin(), end(), ", ")); }

bool Dims::operator==(const Dims& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape result = Shape::filled(rank, 1);
  for (int i = 1; i <= rank; ++i) {
    const std::int64_t x = i <= a.rank() ? a[-i] : 1, y = i <= b.rank() ? b[-i] : 1;
    if (x != y && x != 1 && y != 1)
      throw ArgumentError(fmt::format("{}: shapes {} and {} do not broadcast: axis {} from the end is {} and {}", op,
                                      a.str(), b.str(), i, x, y));
    result[-i] = x == 1 ? y : x;
  }
  return result;
}

int normalise_axis(const char* op, int axis, int rank) {
  if (axis < -rank || axis >= rank)
    throw ArgumentError(fmt::format("{}: axis {} is out of range for a tensor of {} axes", op, axis, rank));
  return axis < 0 ? axis + rank : axis;
}

void check_extents(const char* op, const Shape& shape) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 48;
  std::int64_t n = 1;
  for (std::int64_t extent : shape) {
    if (extent < 0) throw ArgumentError(fmt::format("{}: shape {} has a negative extent", op, shape.str()));
    if (extent > kLimit || (extent > 0 && n > kLimit / extent))
      throw ShapeTooLarge(fmt::format("{}: shape {} has more than 2^48 elements", op, shape.str()));
    n = extent == 0 ? n : n * extent;
  }
}

}  // namespace weir
