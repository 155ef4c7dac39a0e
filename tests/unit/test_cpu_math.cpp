// The element formulas of CPU kernels against the standard library.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "ops/cpu/math.h"

using namespace weir;

namespace {

// |got - expected| in units of the last place of a float near `expected`.
double units_apart(float got, double expected) {
  int exponent = 0;
  std::frexp(expected, &exponent);
  return std::abs(static_cast<double>(got) - expected) / std::ldexp(1.0, exponent - 24);
}

}  // namespace

TEST_CASE("cpu math: exp is within 3 units in the last place, and exact at its limits") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  double worst = 0;
  int wrong = 0;
  for (std::uint64_t bits = 0; bits <= 0xffffffffu; bits += 1021) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    const float y = cpu::exp(x);
    if (std::isnan(x))
      wrong += !std::isnan(y);
    else if (x > 88.722f)
      wrong += y != kInfinity;
    else if (x < -87.3f)
      wrong += y != 0;
    else
      worst = std::max(worst, units_apart(y, std::exp(static_cast<double>(x))));
  }
  CHECK(wrong == 0);
  CHECK(worst <= 3);
  CHECK(cpu::exp(0.0f) == 1);
  CHECK(cpu::exp(-kInfinity) == 0);
  CHECK(cpu::exp(kInfinity) == kInfinity);
  CHECK(units_apart(cpu::exp(88.722f), std::exp(static_cast<double>(88.722f))) <= 3);
  CHECK(units_apart(cpu::exp(-87.3f), std::exp(static_cast<double>(-87.3f))) <= 3);
}

TEST_CASE("cpu math: tanh is within 2 units in the last place, erf within 5") {
  double worst_tanh = 0, worst_erf = 0;
  int wrong = 0;
  for (std::uint64_t bits = 0; bits <= 0xffffffffu; bits += 1021) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    const float t = cpu::tanh(x), e = cpu::erf(x);
    if (std::isnan(x)) {
      wrong += !std::isnan(t) || !std::isnan(e);
    } else if (std::fabs(x) >= std::numeric_limits<float>::min()) {
      worst_tanh = std::max(worst_tanh, units_apart(t, std::tanh(static_cast<double>(x))));
      worst_erf = std::max(worst_erf, units_apart(e, std::erf(static_cast<double>(x))));
    }
  }
  CHECK(wrong == 0);
  CHECK(worst_tanh <= 2);
  CHECK(worst_erf <= 5);
  CHECK(cpu::tanh(0.0f) == 0);
  CHECK(cpu::erf(0.0f) == 0);
}
