#include "ops/support/check.h"

#include <fmt/format.h>

#include "core/error.h"

namespace weir {

void check_same_dtype(const char* op, const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype())
    throw ArgumentError(fmt::format("{}: expected one dtype on both sides, got {} and {}; convert one with cast()", op,
                                    dtype_name(a.dtype()), dtype_name(b.dtype())));
}

void check_rank(const char* op, const char* argument, const Tensor& t, int rank) {
  if (t.rank() != rank)
    throw ArgumentError(fmt::format("{}: expected {} with {} axes, got shape {}", op, argument, rank, t.shape().str()));
}

void check_shape(const char* op, const char* argument, const Tensor& t, const Shape& expected) {
  if (t.shape() != expected)
    throw ArgumentError(
        fmt::format("{}: expected {} of shape {}, got {}", op, argument, expected.str(), t.shape().str()));
}

void check_floating(const char* op, const char* argument, const Tensor& t) {
  if (!is_floating(t.dtype()))
    throw ArgumentError(
        fmt::format("{}: expected {} of a floating dtype, got {}", op, argument, dtype_name(t.dtype())));
}

void check_probability(const char* op, double p) {
  if (!(p >= 0 && p < 1))
    throw ArgumentError(fmt::format("{}: expected a probability p of 0 or more and below 1, got {}", op, p));
}

}  // namespace weir
