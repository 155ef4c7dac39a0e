// How a row is normalised to mean 0 and variance 1, or to a mean square of 1, for the kernels of every device.
#pragma once

#include <cmath>
#include <limits>

#include "core/philox.h"

namespace weir {

// What a norm takes from a row before it divides: the row's mean, as layer norm does, or nothing, as RMS norm does.
enum class Centre { mean, zero };

// n(x) = (x * unit - mean) * scale + shift, where mean and scale, 1 / sqrt(variance + eps), are those of x * unit.
//   unit:  1; where squares would leave the range of Value, a power of two that brings them back
//   shift: -scale times what rounding took from the mean. Around 10,000 the floats are 0.001 apart.
template <class Value>
struct RowNorm {
  Value unit = 1, mean = 0, scale = 0, shift = 0;

  WEIR_HOST_DEVICE Value operator()(Value x) const { return (x * unit - mean) * scale + shift; }
  WEIR_HOST_DEVICE Value slope() const { return scale * unit; }  // dn/dx

  // From the sum of the values x * unit - mean and that of their squares; `share`: one over their number. True where
  // they are wanted again, of another unit or mean; a walk over the row gets them, most rows need one, and `last`
  // forbids another. With a sum of 0 the mean stays 0, and the variance is the mean square.
  static constexpr int kWalks = 4;
  WEIR_HOST_DEVICE bool settle(Value sum, Value squares, Value share, Value eps, bool last);
};

template <class Value>
WEIR_HOST_DEVICE bool RowNorm<Value>::settle(Value sum, Value squares, Value share, Value eps, bool last) {
  using Limits = std::numeric_limits<Value>;
  constexpr Value kUnit = static_cast<Value>(Limits::max_exponent == 128 ? 0x1p80 : 0x1p640);
  constexpr Value kLeast = Limits::min() / Limits::epsilon();  // below it, squares have lost bits
  const Value rest = sum * share, found = (squares - sum * rest) * share;
  const Value variance = found < 0 ? 0 : found, total = variance + eps * unit * unit;  // NaN stays NaN
  const bool in_range = total >= kLeast && total <= Limits::max();
  // Where the mean is off by deviations, the subtraction above has cancelled.
  const bool off = rest * rest > 4 * variance;
  if ((!in_range || off) && !last) {
    const bool too_large = !(total <= Limits::max());  // or not a number
    // Of values from 1 on, the spacing of floats alone makes more than the least variance; or there is none.
    const bool too_small = total < kLeast && std::fabs(mean) < 1;
    if (unit == 1 && (too_large || too_small)) {
      unit = too_small ? kUnit : 1 / kUnit;
      mean = mean - mean == 0 ? mean * unit : 0;  // the sum, too, may have left the range
      return true;
    }
    if (off) {
      mean += rest;
      return true;
    }
  }
  scale = 1 / std::sqrt(total);
  if (!in_range) {
    // What is 0 or too small here is a row without deviations, which becomes 0 with any eps.
    const Value most = eps > 0 ? 1 / (std::sqrt(eps) * unit) : Limits::max();  // a square may have become 0
    if (scale > most) scale = most;
    if (scale > Limits::max()) scale = Limits::max();
  }
  shift = -rest * scale;
  return false;
}

}  // namespace weir
