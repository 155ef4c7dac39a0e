// What softmax and its relatives do to a row first.
#pragma once

#include <cmath>

#include "cuda/reduce.cuh"

namespace weir::cuda {

// The row's largest value, and the sum of exp(x - shift) over the row. An infinite maximum is not subtracted from
// itself: the shift then is 0. An empty row has sum 0.
template <class Value>
struct ExpRow {
  Value shift, sum;
};

template <class Value>
__device__ Value shift_of(Value largest) {
  return largest - largest == 0 ? largest : Value(0);
}

// Reads the row once: a thread adds up its packs below the largest value so far, and scales its sum down when a pack
// brings a larger one; then the team does the same with the threads' sums.
template <class T, class Team>
__device__ ExpRow<accumulate_t<T>> exp_row(const Team& team, const T* row, std::int64_t cols, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  Value largest = -INFINITY, sum = 0;
  for_packs<T>(team, cols, [&](std::int64_t col, int count) {
    const auto pack = load_pack<T, n>(row + col, 1, count, vectors);
    Value top = largest;
    for (int i = 0; i < n; ++i)
      if (i < count) top = Larger{}(top, static_cast<Value>(pack.values[i]));
    const Value shift = shift_of(top);
    if (top > largest) sum *= std::exp(largest - shift);
    for (int i = 0; i < n; ++i)
      if (i < count) sum += std::exp(static_cast<Value>(pack.values[i]) - shift);
    largest = top;
  });
  const Value shift = shift_of(team.reduce(largest, Larger{}));
  return {shift, team.reduce(sum * std::exp(largest - shift), Add{})};
}

}  // namespace weir::cuda
