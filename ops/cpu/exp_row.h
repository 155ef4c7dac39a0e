// What softmax and its relatives do to a row first.
#pragma once

#include <cmath>

#include "core/dtype.h"
#include "ops/cpu/math.h"
#include "ops/cpu/reduce.h"

namespace weir::cpu {

template <class Value>
struct ExpRow {
  Value shift, sum;
};

// e[c] = exp(row[c] - shift), where the shift is the row's largest value, and their sum. An infinite maximum is not
// subtracted from itself: the shift then is 0.
template <class T>
ExpRow<accumulate_t<T>> exp_row(const T* row, std::int64_t n, accumulate_t<T>* e) {
  using Value = accumulate_t<T>;
  const Value largest = max_over<Value>(n, [row](std::int64_t c) { return static_cast<Value>(row[c]); });
  const Value shift = std::isfinite(largest) ? largest : Value(0);
  for (std::int64_t c = 0; c < n; ++c) e[c] = cpu::exp(static_cast<Value>(row[c]) - shift);
  return {shift, sum_over<Value>(n, [e](std::int64_t c) { return e[c]; })};
}

}  // namespace weir::cpu
