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

}  // namespace weir::cpu
