// What softmax and its relatives do to a row first.
#pragma once

#include <span>
#include <vector>

#include "core/parallel.h"
#include "core/tensor.h"
#include "ops/cpu/math.h"
#include "ops/cpu/reduce.h"

namespace weir::cpu {

template <class Value>
struct ExpRow {
  Value shift, sum;
};

// What is subtracted from values whose largest is this: an infinite maximum is not subtracted from itself.
template <class Value>
Value shift_of(Value largest) {
  return largest - largest == 0 ? largest : Value(0);
}

// e[c] = exp(row[c] - shift), where the shift is the row's largest value, and their sum. An infinite maximum is not
// subtracted from itself: the shift then is 0.
template <class T>
ExpRow<accumulate_t<T>> exp_row(const T* row, std::int64_t n, accumulate_t<T>* e) {
  using Value = accumulate_t<T>;
  const Value largest = max_over<Value>(n, [row](std::int64_t c) { return static_cast<Value>(row[c]); });
  const Value shift = shift_of(largest);
  for (std::int64_t c = 0; c < n; ++c) e[c] = cpu::exp(static_cast<Value>(row[c]) - shift);
  return {shift, sum_over<Value>(n, [e](std::int64_t c) { return e[c]; })};
}

// finish(row of x, row of y, {shift, sum}, e) for every row, where e holds exp(row of x - shift). `op` is for messages.
template <class Finish>
void for_each_exp_row(const char* op, const Tensor& x, const Tensor& y, const Finish& finish) {
  const Tensor from = rows_form(x);
  visit_floating(op, x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(from), out = rows_of<T>(y);
    parallel_for(in.rows, grain_for(8 * in.cols), [&](std::int64_t begin, std::int64_t end) {
      std::vector<Value> e(static_cast<std::size_t>(in.cols));
      for (std::int64_t r = begin; r < end; ++r)
        finish(in.row(r), out.row(r), exp_row(in.row(r), in.cols, e.data()), std::span<const Value>(e));
    });
  });
}

}  // namespace weir::cpu
