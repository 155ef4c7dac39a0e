// Philox4x32-10 and what is drawn from it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/philox.h"
#include "ops/cpu/keep.h"

using namespace weir;

namespace {

void check_block(Uint4 counter, std::uint32_t key_lo, std::uint32_t key_hi, Uint4 expected) {
  const Uint4 got = philox(counter, key_lo, key_hi);
  CHECK(got.x == expected.x);
  CHECK(got.y == expected.y);
  CHECK(got.z == expected.z);
  CHECK(got.w == expected.w);
}

}  // namespace

TEST_CASE("philox: the known answers of Random123") {
  check_block({0, 0, 0, 0}, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint32_t ones = 0xffffffff;
  check_block({ones, ones, ones, ones}, ones, ones, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check_block({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0,
              {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("philox: elements are the words of consecutive blocks") {
  const RandomStream random{0x0123456789abcdef, 3, 9};
  for (std::uint64_t block : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{1} << 40}) {
    const Uint4 words = random.block(block);
    CHECK(random.bits(4 * block) == words.x);
    CHECK(random.bits(4 * block + 1) == words.y);
    CHECK(random.bits(4 * block + 2) == words.z);
    CHECK(random.bits(4 * block + 3) == words.w);
  }
}

TEST_CASE("philox: a group of blocks is its elements one by one, whatever instructions compute it") {
  const RandomStream random{.seed = 0xfedcba9876543210u, .stream = 0xdeadbeefu, .step = 0x12345678u};
  for (const std::uint64_t first :
       {std::uint64_t{0}, std::uint64_t{4}, std::uint64_t{0x3fffffff8}, ~std::uint64_t{1023}}) {
    std::array<std::uint32_t, cpu::kPhiloxGroup> group{}, plain{}, expected{};
    cpu::philox_group(random, first, group.data());
    cpu::plain_philox_group(random, first, plain.data());
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = random.bits(first + i) >> 8;
    CHECK(group == expected);
    CHECK(plain == expected);
  }
}

TEST_CASE("philox: seed, stream, step and element all matter") {
  const RandomStream base{1, 2, 3};
  std::set<std::uint32_t> seen{base.bits(0),
                               base.bits(std::uint64_t{1} << 34),
                               RandomStream{2, 2, 3}.bits(0),
                               RandomStream{std::uint64_t{1} << 32 | 1, 2, 3}.bits(0),
                               RandomStream{1, 3, 3}.bits(0),
                               RandomStream{1, 2, 4}.bits(0)};
  CHECK(seen.size() == 6);
}

TEST_CASE("philox: uniform numbers fill [0, 1) evenly") {
  const RandomStream random{11, 0, 0};
  constexpr int kDraws = 200000, kBins = 20;
  int bins[kBins] = {};
  float low = 1, high = 0;
  for (int i = 0; i < kDraws; ++i) {
    const float u = random.uniform(static_cast<std::uint64_t>(i));
    low = std::min(low, u);
    high = std::max(high, u);
    ++bins[static_cast<int>(u * kBins)];
  }
  CHECK(low >= 0);
  CHECK(low < 1e-4);
  CHECK(high < 1);
  CHECK(high > 1 - 1e-4);
  double chi_squared = 0;
  for (int count : bins) chi_squared += std::pow(count - kDraws / kBins, 2) * kBins / kDraws;
  CHECK(chi_squared < 43.8);  // 19 degrees of freedom: exceeded once in a thousand seeds
}

TEST_CASE("philox: normal numbers have the moments of N(0, 1)") {
  const RandomStream random{12, 0, 0};
  constexpr int kDraws = 200000;
  double moments[5] = {};
  for (int i = 0; i < kDraws; ++i) {
    const double v = random.normal(static_cast<std::uint64_t>(i));
    for (int p = 1; p <= 4; ++p) moments[p] += std::pow(v, p) / kDraws;
  }
  // Five standard errors: of the p-th moment, sqrt((E v^2p - (E v^p)^2) / draws).
  CHECK(std::abs(moments[1]) < 5 * std::sqrt(1.0 / kDraws));
  CHECK(std::abs(moments[2] - 1) < 5 * std::sqrt(2.0 / kDraws));
  CHECK(std::abs(moments[3]) < 5 * std::sqrt(15.0 / kDraws));
  CHECK(std::abs(moments[4] - 3) < 5 * std::sqrt(96.0 / kDraws));
}
