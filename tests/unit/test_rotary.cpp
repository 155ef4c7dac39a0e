// What the generic op suite does not ask of rotary position embeddings.
#include <doctest/doctest.h>

#include <cmath>
#include <complex>

#include "core/device.h"
#include "ops/rotary.h"
#include "ops/support/samples.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;

TEST_CASE("rotary: angles are accurate up to position 2^20") {
  constexpr std::int64_t kFirst = (1 << 20) - 3, kHeads = 2, kWidth = 64;
  const Tensor exact = random_tensor({1, 4, kHeads, kWidth}, 1);
  for (const Device device : available_devices())
    for (const auto& [dtype, tolerance] :
         {std::pair{DType::float64, 1e-9}, std::pair{DType::float32, 2e-7}, std::pair{DType::bf16, 5e-3}}) {
      const Tensor x = converted(exact, dtype);
      const std::vector<double> from = x.values(), got = rotary(to_device(x, device), kFirst, 10000).values();
      double worst = 0;
      for (std::size_t row = 0; row < 4 * kHeads; ++row)
        for (std::size_t i = 0; i < kWidth / 2; ++i) {
          const long double angle = static_cast<long double>(kFirst + static_cast<std::int64_t>(row) / kHeads) *
                                    std::exp(-static_cast<long double>(i) / (kWidth / 2) * std::log(10000.0L));
          const std::size_t first = row * kWidth + i, second = first + kWidth / 2;
          const auto turned = std::complex<long double>(from[first], from[second]) * std::polar(1.0L, angle);
          worst = std::max({worst, std::abs(static_cast<double>(turned.real()) - got[first]),
                            std::abs(static_cast<double>(turned.imag()) - got[second])});
        }
      INFO(device_name(device), ", ", dtype_name(dtype));
      CHECK(worst <= tolerance);
    }
}

TEST_CASE("rotary: tokens that come one by one turn as they do together") {
  for (const Device device : available_devices()) {
    const Tensor x = to_device(converted(random_tensor({2, 9, 3, 8}, 1), DType::float32), device);
    const Tensor together = rotary(x, 40, 10000);
    for (std::int64_t t = 0; t < 9; ++t)
      CHECK(same_bits(rotary(slice_view(x, 1, t, t + 1), 40 + t, 10000), slice_view(together, 1, t, t + 1)));
  }
}

TEST_CASE("rotary: scores depend on the distance of positions alone") {
  const Tensor q = random_tensor({1, 1, 1, 32}, 1), k = random_tensor({1, 1, 1, 32}, 2);
  const auto score = [&](std::int64_t query, std::int64_t key) {
    const std::vector<double> a = rotary(q, query).values(), b = rotary(k, key).values();
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  CHECK(score(17, 5) == doctest::Approx(score(1012, 1000)).epsilon(1e-10));
  CHECK(score(17, 5) != doctest::Approx(score(18, 5)).epsilon(1e-3));
}
