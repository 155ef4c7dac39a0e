// Sums in a fixed order, for CPU kernels: the same bits on any number of threads.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "core/tensor.h"

namespace weir::cpu {

// The sum of 2 * width lanes, left in the first, by halves.
template <std::int64_t width, class Sum>
void fold(Sum* lanes) {
  for (std::int64_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  if constexpr (width > 1) fold<width / 2>(lanes);
}

// Sum of f(0) .. f(n - 1): sixteen running sums added in a fixed order, which the compiler keeps in vector registers.
template <class Sum, class F>
Sum sum_over(std::int64_t n, F&& f) {
  constexpr std::int64_t kLanes = 16;
  Sum lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::int64_t l = 0; l < kLanes; ++l) lanes[l] += f(i + l);
  for (std::int64_t l = 0; i + l < n; ++l) lanes[l] += f(i + l);
  fold<kLanes / 2>(lanes);
  return lanes[0];
}

template <class Sum>
struct Sums {
  Sum sum, squares;
};

// Sum of f(0) .. f(n - 1) and of their squares, each by thirty-two running sums in a fixed order.
template <class Sum, class F>
Sums<Sum> sums_over(std::int64_t n, F&& f) {
  constexpr std::int64_t kLanes = 32;
  Sum sums[kLanes] = {}, squares[kLanes] = {};
  const auto add = [&](std::int64_t i, std::int64_t l) {
    const Sum v = f(i + l);
    sums[l] += v;
    squares[l] += v * v;
  };
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::int64_t l = 0; l < kLanes; ++l) add(i, l);
  for (std::int64_t l = 0; i + l < n; ++l) add(i, l);
  fold<kLanes / 2>(sums);
  fold<kLanes / 2>(squares);
  return {sums[0], squares[0]};
}

// The largest of f(0) .. f(n - 1), by sixteen running maxima; NaN is passed over, and -infinity is left where there is
// nothing else.
template <class Value, class F>
Value max_over(std::int64_t n, F&& f) {
  constexpr std::int64_t kLanes = 16;
  Value lanes[kLanes];
  for (Value& lane : lanes) lane = -std::numeric_limits<Value>::infinity();
  const auto larger = [](Value a, Value b) { return b > a ? b : a; };
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::int64_t l = 0; l < kLanes; ++l) lanes[l] = larger(lanes[l], f(i + l));
  for (std::int64_t l = 0; i + l < n; ++l) lanes[l] = larger(lanes[l], f(i + l));
  for (std::int64_t width = kLanes / 2; width > 0; width /= 2)
    for (std::int64_t l = 0; l < width; ++l) lanes[l] = larger(lanes[l], lanes[l + width]);
  return lanes[0];
}

// Rows per partial sum of a reduction over rows.
inline constexpr std::int64_t kRowsPerPartial = 256;

// out[c] = sum over rows of term(r, c), c in [0, cols). `add_row(r, sums)` adds row r into sums[0..cols).
template <class Sum, class AddRow>
std::vector<Sum> sum_of_rows(std::int64_t rows, std::int64_t cols, AddRow&& add_row) {
  const std::int64_t partials = std::max<std::int64_t>(1, (rows + kRowsPerPartial - 1) / kRowsPerPartial);
  std::vector<Sum> sums(static_cast<std::size_t>(partials * cols));
  parallel_for(partials, 1, [&](std::int64_t p, std::int64_t) {
    for (std::int64_t r = p * kRowsPerPartial; r < std::min(rows, (p + 1) * kRowsPerPartial); ++r)
      add_row(r, sums.data() + p * cols);
  });
  for (std::int64_t p = 1; p < partials; ++p)
    for (std::int64_t c = 0; c < cols; ++c)
      sums[static_cast<std::size_t>(c)] += sums[static_cast<std::size_t>(p * cols + c)];
  sums.resize(static_cast<std::size_t>(cols));
  return sums;
}

}  // namespace weir::cpu
