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
