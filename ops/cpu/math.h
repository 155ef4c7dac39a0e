// Element formulas for CPU kernels, written so that the compiler turns a loop over them into vector instructions.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace weir::cpu {

// e^x. In float: Cody-Waite reduction and a degree-6 polynomial, within 3 units in the last place; below -87.3 it is
// exactly 0 (where a masked softmax wants it), above 88.7 it is infinity, and NaN stays NaN.
inline float exp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.3888889e-3f;
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // n is added to the exponent. Within the limits the result's is that of a normal number: p is less than 1 where n is
  // 128, and at least 1 where n is -126.
  const float y = std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + (std::bit_cast<std::uint32_t>(shifted) << 23));
  const float finite_or_nan = x <= 88.722f ? y : x + std::numeric_limits<float>::infinity();
  return x < -87.3f ? 0.0f : finite_or_nan;
}
inline double exp(double x) { return std::exp(x); }

// ln x. In float: x = 2^e m with m in [sqrt(1/2), sqrt(2)), ln m = 2 artanh((m - 1) / (m + 1)) by its series, within 2
// units in the last place; 0 gives -infinity, less than 0 NaN, and subnormals are exact too.
inline float log(float x) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const bool subnormal = x < std::numeric_limits<float>::min();
  const auto bits = std::bit_cast<std::uint32_t>(x * (subnormal ? 8388608.0f : 1.0f));
  const std::int32_t exponent = static_cast<std::int32_t>(bits - 0x3f3504f3u) >> 23;  // 0x3f3504f3 is sqrt(1/2)
  const float m = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(exponent) << 23));
  const float e = static_cast<float>(exponent) - (subnormal ? 23.0f : 0.0f);
  const float s = (m - 1.0f) / (m + 1.0f), q = s * s;
  const float series = (((q * (2.0f / 9) + 2.0f / 7) * q + 2.0f / 5) * q + 2.0f / 3) * q;
  const float y = e * 0.693359375f + (2.0f * s + (s * series - e * 2.12194440e-4f));
  const float finite = x < kInfinity ? y : x;
  const float from_zero = x == 0 ? -kInfinity : finite;
  return x < 0 ? std::numeric_limits<float>::quiet_NaN() : from_zero;
}
inline double log(double x) { return std::log(x); }

template <class T>
T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

// In float: near zero x times an even polynomial (Cephes' tanhf, Moshier 1992), else by e^2x; within 4 units in the
// last place.
inline float tanh(float x) {
  const float square = x * x, size = std::fabs(x);
  float p = -5.70498872745e-3f;
  p = p * square + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const float near_zero = x + x * square * p;
  const float far = std::copysign(1.0f - 2.0f / (exp(2.0f * size) + 1.0f), x);
  return size < 0.625f ? near_zero : far;  // NaN stays in `far`
}
inline double tanh(double x) { return std::tanh(x); }

// In float: Abramowitz and Stegun 7.1.26; near zero, where its error of 1.5e-7 would be much of erf x, the series.
// Within 5 units in the last place.
inline float erf(float x) {
  const float size = std::fabs(x), square = x * x, t = 1.0f / (1.0f + 0.3275911f * size);
  float p = 1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const float far = std::copysign(1.0f - p * t * exp(-square), x);
  float series = -1.0f / 75600;
  series = series * square + 1.0f / 9360;
  series = series * square - 1.0f / 1320;
  series = series * square + 1.0f / 216;
  series = series * square - 1.0f / 42;
  series = series * square + 1.0f / 10;
  series = series * square - 1.0f / 3;
  const float near_zero = 1.12837917f * (x + x * square * series);  // 2 / sqrt(pi)
  return size < 0.75f ? near_zero : far;
}
inline double erf(double x) { return std::erf(x); }

}  // namespace weir::cpu
