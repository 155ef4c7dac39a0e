// Layer norm or RMS norm of one row, and its gradient, for the ops that hold one.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/cpu/reduce.h"
#include "ops/support/row_norm.h"

namespace weir::cpu {

// The elements of a parameter, side by side.
template <class To, class From>
std::vector<To> parameter_values(const Tensor& t) {
  const Tensor row = rows_form(t);
  const From* const data = rows_of<From>(row).data;
  std::vector<To> result(static_cast<std::size_t>(t.numel()));
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = static_cast<To>(data[i]);
  return result;
}

// y = n(x) * w + b; around zero there is no b.
template <class T, Centre centre = Centre::mean>
RowNorm<accumulate_t<T>> normalise_row(std::int64_t D, const T* x, const accumulate_t<T>* w, const accumulate_t<T>* b,
                                       double eps, T* y) {
  using Value = accumulate_t<T>;
  const auto value = [x](std::int64_t c) { return static_cast<Value>(x[c]); };
  const Value share = 1 / static_cast<Value>(D);
  RowNorm<Value> norm;
  if constexpr (centre == Centre::mean) norm.mean = sum_over<Value>(D, value) * share;
  for (int walk = 1;; ++walk) {
    // Finds the row in cache, and does not cancel as E[x^2] - mean^2 would.
    const auto [sum, squares] =
        sums_over<Value>(D, [value, norm](std::int64_t c) { return value(c) * norm.unit - norm.mean; });
    const Value off_centre = centre == Centre::mean ? sum : 0;
    if (!norm.settle(off_centre, squares, share, static_cast<Value>(eps), walk == norm.kWalks)) break;
  }
  const RowNorm<Value> n = norm;
  if constexpr (centre == Centre::mean)
    for (std::int64_t c = 0; c < D; ++c) y[c] = T(n(value(c)) * w[c] + b[c]);
  else
    for (std::int64_t c = 0; c < D; ++c) y[c] = T(n(value(c)) * w[c]);
  return n;
}

// With n = n(x) and g = dy * w:
//   dx = dsum + dn/dx * (g - mean(g) - n * mean(g * n)),  dw = sum of dy * n over rows,  db = sum of dy over rows.
// Around zero mean(g) falls away, and so does db. dsum: null for none; dx: null where it is not wanted. `sums` holds
// dw, then db.
template <class T, Centre centre = Centre::mean>
void normalise_row_backward(std::int64_t D, const T* x, const T* dy, const accumulate_t<T>* w,
                            RowNorm<accumulate_t<T>> row, const T* dsum, T* dx, accumulate_t<T>* sums) {
  using Value = accumulate_t<T>;
  const auto n = [=](std::int64_t c) { return row(static_cast<Value>(x[c])); };
  const auto g = [=](std::int64_t c) { return static_cast<Value>(dy[c]) * w[c]; };
  for (std::int64_t c = 0; c < D; ++c) {
    sums[c] += static_cast<Value>(dy[c]) * n(c);
    if constexpr (centre == Centre::mean) sums[D + c] += static_cast<Value>(dy[c]);
  }
  if (dx == nullptr) return;
  Value mean_g = 0;
  if constexpr (centre == Centre::mean) mean_g = sum_over<Value>(D, g) / static_cast<Value>(D);
  const Value mean_gn = sum_over<Value>(D, [=](std::int64_t c) { return g(c) * n(c); }) / static_cast<Value>(D);
  const Value slope = row.slope();
  const auto of_norm = [=](std::int64_t c) { return slope * (g(c) - mean_g - n(c) * mean_gn); };
  if (dsum == nullptr)
    for (std::int64_t c = 0; c < D; ++c) dx[c] = T(of_norm(c));
  else
    for (std::int64_t c = 0; c < D; ++c) dx[c] = T(static_cast<Value>(dsum[c]) + of_norm(c));
}

// Stores the sums of dw and db, one behind the other.
template <class P, class Value>
void store_parameter_gradients(const std::vector<Value>& sums, const Tensor& dweight, const Tensor& dbias) {
  const auto stored = [](Value v) { return P(v); };
  const auto middle = sums.begin() + static_cast<std::ptrdiff_t>(sums.size() / 2);
  std::transform(sums.begin(), middle, dweight.data<P>(), stored);
  std::transform(middle, sums.end(), dbias.data<P>(), stored);
}

}  // namespace weir::cpu
