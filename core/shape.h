// Shapes and strides: short lists of extents, held inline (no allocation), at most eight axes.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "core/error.h"

namespace weir {

class Dims {
 public:
  static constexpr int kMaxRank = 8;

  Dims() = default;
  Dims(std::initializer_list<std::int64_t> values);
  explicit Dims(std::span<const std::int64_t> values);
  static Dims filled(int rank, std::int64_t value);

  constexpr int rank() const { return rank_; }
  // Axes may be counted from the end: dims[-1] is the last. The caller keeps them within the rank.
  constexpr std::int64_t operator[](int axis) const {
    return values_[static_cast<std::size_t>(axis < 0 ? axis + rank_ : axis)];
  }
  constexpr std::int64_t& operator[](int axis) {
    return values_[static_cast<std::size_t>(axis < 0 ? axis + rank_ : axis)];
  }
  const std::int64_t* begin() const { return values_.data(); }
  const std::int64_t* end() const { return values_.data() + rank_; }
  void push_back(std::int64_t value);
  Dims without(int axis) const;                    // that axis removed
  Dims with(int axis, std::int64_t extent) const;  // that axis replaced
  std::int64_t product() const;                    // 1 for rank 0
  std::string str() const;                         // "[2, 3]"
  bool operator==(const Dims& other) const;

 private:
  std::array<std::int64_t, kMaxRank> values_{};
  int rank_ = 0;
};

using Shape = Dims;    // elements along each axis
using Strides = Dims;  // elements between neighbours along each axis

// The shape two operands broadcast to (trailing axes aligned, extent 1 stretches). Throws ArgumentError naming `op`.
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

// Turns an axis that may count from the end into 0..rank-1. Throws ArgumentError naming `op`.
int normalise_axis(const char* op, int axis, int rank);

// A shape of more elements than any tensor may have.
class ShapeTooLarge : public ArgumentError {
 public:
  using ArgumentError::ArgumentError;
};

// Throws ArgumentError, ShapeTooLarge among them, unless every extent is >= 0 and the number of elements stays below
// 2^48.
void check_extents(const char* op, const Shape& shape);

}  // namespace weir
