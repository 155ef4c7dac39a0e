// What the generic suite over the op records cannot see: special values, ties, and gradients across dtypes.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "autograd/autograd.h"
#include "core/device.h"
#include "ops/amax.h"
#include "ops/argmax.h"
#include "ops/cast.h"
#include "ops/cpu/kth_largest.h"
#include "ops/cpu/math.h"
#include "ops/cross_entropy.h"
#include "ops/cumsum.h"
#include "ops/keep_top_k.h"
#include "ops/log_mean_softmax.h"
#include "ops/log_softmax.h"
#include "ops/logsumexp.h"
#include "ops/softmax.h"
#include "ops/support/samples.h"
#include "ops/take_along.h"
#include "ops/uniform.h"
#include "tensor_checks.h"

using namespace weir;

namespace {

const double kInfinity = INFINITY;

Tensor row(const std::vector<double>& values, DType dtype = DType::float32, Device device = {}) {
  return Tensor::from_values({static_cast<std::int64_t>(values.size())}, values, dtype, device);
}

// Calls f(row) on every device and in every floating dtype, where row(values) makes a tensor of those.
template <class F>
void everywhere(F&& f) {
  for (const Device device : available_devices())
    for (DType dtype : {DType::float64, DType::float32, DType::bf16}) {
      INFO(device_name(device), ", ", dtype_name(dtype));
      f([=](const std::vector<double>& values) { return row(values, dtype, device); });
    }
}

Tensor gradient_of(const Tensor& y, const Tensor& x, const Tensor& dy) {
  return gradients(std::vector{y}, std::vector{x}, std::vector{dy})[0];
}

}  // namespace

TEST_CASE("basic ops: cast hands its gradient back in the input's dtype") {
  for (DType from : {DType::float64, DType::float32, DType::bf16})
    for (DType to : {DType::float64, DType::float32, DType::bf16}) {
      const Tensor x = require_gradient(row({1, -2, 0.5}, from));
      const Tensor dx = gradient_of(cast(x, to), x, row({3, 0.25, -1}, to));
      CHECK(dx.dtype() == from);
      CHECK(dx.values() == std::vector<double>{3, 0.25, -1});
    }
  CHECK_FALSE(requires_gradient(cast(row({1}, DType::int64), DType::float32)));
}

TEST_CASE("basic ops: amax sends its gradient to the first maximum, and NaN wins") {
  const Tensor x = require_gradient(row({1, 4, 2, 4}));
  CHECK(gradient_of(amax(x, 0), x, Tensor::scalar(2, DType::float32)).values() == std::vector<double>{0, 2, 0, 0});
  CHECK(amax(row({-kInfinity, -kInfinity}), 0).item() == -kInfinity);
  CHECK(std::isnan(amax(row({1, NAN, kInfinity}), 0).item()));
}

TEST_CASE("basic ops: take_along adds the gradients of a repeated index") {
  for (DType dtype : {DType::float64, DType::float32, DType::bf16}) {
    const Tensor x = require_gradient(row({5, 6, 7}, dtype));
    const Tensor dx = gradient_of(take_along(x, row({2, 0, 2, 2}, DType::int32)), x, row({1, 2, 4, 8}, dtype));
    CHECK(dx.values() == std::vector<double>{2, 0, 13});
  }
}

TEST_CASE("basic ops: amax finds the first of equal maxima, and the first NaN before all, in rows of any width") {
  everywhere([](const auto& make) {
    const auto place_of = [&](const std::vector<double>& values) {
      const Tensor x = make(values), index = Tensor::empty({1}, DType::int32, x.device());
      amax_kernel(x.device(), x, index);
      return index.item();
    };
    for (std::size_t width : {1u, 5u, 33u, 700u, 3000u}) {
      INFO(width, " columns");
      const std::size_t first = width / 3, second = width - 1;
      std::vector<double> values(width, -kInfinity);
      CHECK(place_of(values) == 0);
      values[first] = values[second] = 3;
      CHECK(place_of(values) == static_cast<double>(first));
      values[first] = kInfinity, values[second] = NAN;
      CHECK(place_of(values) == static_cast<double>(second));
      values[first] = NAN;
      CHECK(place_of(values) == static_cast<double>(first));
    }
  });
}

TEST_CASE("basic ops: argmax is where amax looks, and takes no gradient") {
  everywhere([](const auto& make) {
    CHECK(argmax(make({1, 4, 2, 4}), 0).item() == 1);
    CHECK(argmax(make({1, kInfinity, NAN, NAN}), 0).item() == 2);
    CHECK(argmax(make({-kInfinity, -kInfinity}), -1).item() == 0);
    CHECK(argmax(make({-0.0, 0.0}), 0).item() == 0);  // equal
    const Tensor x = require_gradient(make({3, 5}));
    CHECK_FALSE(requires_gradient(argmax(x, 0)));
    CHECK(argmax(x, 0).dtype() == DType::int32);
  });
}

TEST_CASE("basic ops: cumsum of infinities and NaN, which leave alone what is summed before them") {
  everywhere([](const auto& make) {
    for (const std::size_t width : {5u, 33u, 700u, 3000u}) {  // each with another team of threads
      INFO(width, " columns");
      const std::size_t first = width / 3, second = width - 2;
      std::vector<double> values(width, 0), backwards(width, 0);
      values[0] = 1, values[first] = kInfinity, values[second] = -kInfinity;
      for (std::size_t i = 0; i < width; ++i) backwards[width - 1 - i] = values[i];
      const std::vector<double> y = cumsum(make(values), 0).values(), z = cumsum(make(backwards), 0, true).values();
      for (std::size_t i = 0; i < width; ++i) {
        CHECK((i < first ? y[i] == 1 : i < second ? y[i] == kInfinity : std::isnan(y[i])));
        CHECK((y[i] == z[width - 1 - i] || (std::isnan(y[i]) && std::isnan(z[width - 1 - i]))));
      }
    }
  });
}

TEST_CASE("basic ops: cumsum keeps the sums of bf16 in float") {
  for (const Device device : available_devices())
    for (const bool reverse : {false, true}) {
      const std::vector<double> y = cumsum(Tensor::full({2048}, 1, DType::bf16, device), 0, reverse).values();
      CHECK(y[reverse ? 0 : 2047] == 2048);  // in bf16 it would stop at 256
    }
}

TEST_CASE("basic ops: uniform stays below its upper bound, and is the same to the bit on every device") {
  const RandomStream random{5, 6, 7};
  for (DType dtype : {DType::float64, DType::float32, DType::bf16})
    for (const auto& [low, high] : {std::pair{0.0, 1.0}, {-1.0, 0.0}, {-0.3, 0.7}, {1.0, 1.5}, {1e-3, 1e4}}) {
      INFO(std::string(dtype_name(dtype)), ", [", low, ", ", high, ")");
      const Tensor y = uniform({301, 101}, low, high, random, dtype);
      const Tensor bounds = Tensor::from_values({2}, std::vector{low, high}, dtype);
      const std::vector<double> values = y.values(), ends = bounds.values();
      double sum = 0, squares = 0, least = high, most = low;
      for (const double v : values) {
        const double u = (v - ends[0]) / (ends[1] - ends[0]);
        sum += u, squares += u * u, least = std::min(least, v), most = std::max(most, v);
      }
      CHECK(least >= ends[0]);
      CHECK(most < ends[1]);
      const auto count = static_cast<double>(values.size());
      CHECK(sum / count == doctest::Approx(1 / 2.0).epsilon(0.02));
      CHECK(squares / count == doctest::Approx(1 / 3.0).epsilon(0.02));
      for (const Device device : available_devices())
        CHECK(same_bits(uniform({301, 101}, low, high, random, dtype, device), y));
    }
  const std::vector<double> unit = uniform({9, 5}, 0, 1, random, DType::float32).values();
  for (std::size_t i = 0; i < unit.size(); ++i) CHECK(unit[i] == static_cast<double>(random.uniform(i)));
}

TEST_CASE("basic ops: uniform ends at the number before its upper bound, and begins at the lower one") {
  struct Bounds {
    double low, high;
    std::vector<double> before;  // the last number of float64, float32 and bf16
  };
  const std::vector<DType> dtypes{DType::float64, DType::float32, DType::bf16};
  for (const auto& [low, high, before] : {Bounds{0, 1, {1 - 0x1p-53, 1 - 0x1p-24, 1 - 0x1p-8}},
                                          {1, 2, {2 - 0x1p-52, 2 - 0x1p-23, 2 - 0x1p-7}},
                                          {-2, -1, {-1 - 0x1p-52, -1 - 0x1p-23, -1 - 0x1p-7}},
                                          {-1, 0, {-0x1p-1074, -0x1p-149, -0x1p-133}}})
    for (std::size_t i = 0; i < dtypes.size(); ++i) {
      INFO(std::string(dtype_name(dtypes[i])), ", [", low, ", ", high, ")");
      const UniformRange range = uniform_range(low, high, dtypes[i]);
      CHECK(range(0) == low);
      CHECK(range.last == before[i]);
      CHECK(range(0xffffff) <= before[i]);
    }
}

TEST_CASE("basic ops: masked softmax is 0, and a row of nothing but masks is NaN") {
  std::vector<double> one_left(37, -kInfinity);
  one_left[20] = -500;
  everywhere([&](const auto& make) {
    const std::vector<double> p = softmax(make(one_left)).values();
    for (std::size_t i = 0; i < p.size(); ++i) CHECK(p[i] == (i == 20 ? 1 : 0));
    const Tensor x = require_gradient(make({0, -kInfinity, 0}));
    const Tensor y = log_softmax(x);
    CHECK(y.values()[1] == -kInfinity);
    CHECK(y.values()[0] == doctest::Approx(-std::log(2.0)).epsilon(0.01));
    const std::vector<double> dx = gradient_of(y, x, make({1, 0, 0})).values();
    CHECK(dx[0] == doctest::Approx(0.5).epsilon(0.01));
    CHECK(dx[1] == 0);
    CHECK(std::isnan(softmax(make({-kInfinity, -kInfinity})).values()[0]));
    CHECK(std::isnan(log_softmax(make({-kInfinity, -kInfinity})).values()[1]));
    CHECK(std::isnan(softmax(make({1, NAN})).values()[0]));
  });
}

TEST_CASE("basic ops: logsumexp of infinities and NaN") {
  everywhere([](const auto& make) {
    CHECK(logsumexp(make({-kInfinity, -kInfinity}), 0).item() == -kInfinity);
    CHECK(logsumexp(make({1, kInfinity}), 0).item() == kInfinity);
    CHECK(std::isnan(logsumexp(make({1, NAN}), 0).item()));
    CHECK(std::isnan(logsumexp(make({NAN, NAN}), 0).item()));
    CHECK(logsumexp(make({3, -kInfinity}), 0).item() == 3);
    std::vector<double> falls_and_rises(100, -kInfinity);
    falls_and_rises[40] = -500, falls_and_rises[90] = 500;
    CHECK(logsumexp(make(falls_and_rises), 0).item() == 500);
  });
}

TEST_CASE("basic ops: log_mean_softmax is what its parts give, also of probabilities too small for their type") {
  std::vector<double> z = random_tensor({2, 150, 5}, 12, -3, 3).values();
  for (std::size_t i = 4; i < z.size(); i += 5) z[i] -= 400;
  for (std::size_t i = 3; i < 500; i += 5) z[i] -= 400;  // 100 rows of a column that rises afterwards
  for (const Device device : available_devices())
    for (const auto& [dtype, tolerance] : {std::pair{DType::float64, 1e-12}, std::pair{DType::float32, 1e-4}}) {
      INFO(device_name(device), ", ", dtype_name(dtype));
      const Tensor x = require_gradient(Tensor::from_values({2, 150, 5}, z, dtype, device));
      const Tensor dy = Tensor::from_values({2, 5}, random_tensor({2, 5}, 13).values(), dtype, device);
      const Tensor y = log_mean_softmax(x), expected = log_mean_softmax_composed(x);
      CHECK(y.values()[4] < -300);
      CHECK(std::isfinite(y.values()[4]));
      CHECK(max_difference(y, expected) < tolerance);
      CHECK(max_difference(gradient_of(y, x, dy), gradient_of(expected, x, dy)) < tolerance);
    }
  everywhere([](const auto& make) {
    const auto means = log_mean_softmax(reshaped(make({0, -kInfinity, 0, -kInfinity}), {2, 2})).values();
    CHECK(means == std::vector{0.0, -kInfinity});
    CHECK(std::isnan(log_mean_softmax(reshaped(make({0, 1, NAN, 1}), {2, 2})).values()[0]));
  });
}

TEST_CASE("basic ops: log in float is right to two units in the last place, from subnormals to infinity") {
  double worst = 0;
  for (std::uint32_t bits = 1; bits < 0x7f800000u; bits += 9973) {
    const auto x = std::bit_cast<float>(bits);
    const double exact = std::log(static_cast<double>(x));
    const float near = static_cast<float>(std::abs(exact));
    const double unit = std::nextafter(near, INFINITY) - near;
    worst = std::max(worst, std::abs(cpu::log(x) - exact) / unit);
  }
  CHECK(worst <= 2);
  CHECK(cpu::log(1.0f) == 0);
  CHECK(cpu::log(0.0f) == -kInfinity);
  CHECK(cpu::log(INFINITY) == kInfinity);
  CHECK(std::isnan(cpu::log(-1.0f)));
  CHECK(std::isnan(cpu::log(NAN)));
}

TEST_CASE("basic ops: cross_entropy may leave the gradient where the logits were") {
  for (const Device device : available_devices())
    for (DType dtype : {DType::float64, DType::float32, DType::bf16}) {
      INFO(device_name(device), ", ", dtype_name(dtype));
      const Tensor values = to_device(converted(random_tensor({7, 301}, 3), dtype), device);
      const Tensor targets = to_device(random_indices({7}, 4, 301), device);
      const Tensor apart = require_gradient(clone(values)), once = require_gradient(clone(values));
      const Tensor dloss = Tensor::full({}, 1, dtype == DType::float64 ? dtype : DType::float32, device);
      const Tensor expected = gradient_of(cross_entropy(apart, targets), apart, dloss);
      const Tensor got = gradient_of(cross_entropy(once, targets, LogitsAfterwards::gradient), once, dloss);
      CHECK(got.values() == expected.values());
      CHECK(got.raw() == once.raw());
      CHECK(apart.values() == values.values());
      // Of a view without unit stride the gradient is another tensor.
      const Tensor view = require_gradient(transpose_view(clone(transpose_view(values, 0, 1)), 0, 1));
      const Tensor of_view = gradient_of(cross_entropy(view, targets, LogitsAfterwards::gradient), view, dloss);
      CHECK(of_view.values() == expected.values());
    }
}

TEST_CASE("basic ops: order keys sort as the numbers do, NaN on top") {
  const std::vector<double> ascending{-kInfinity, -1e30, -1, -1e-40, -0.0, 0.0, 1e-40, 1, 1e30, kInfinity, NAN};
  for (std::size_t i = 1; i < ascending.size(); ++i) {
    const auto a = static_cast<float>(ascending[i - 1]), b = static_cast<float>(ascending[i]);
    CHECK(cpu::order_key(ascending[i - 1]) < cpu::order_key(ascending[i]));
    CHECK(cpu::order_key(a) < cpu::order_key(b));
    CHECK(cpu::order_key(bf16(a)) < cpu::order_key(bf16(b)));
  }
  CHECK(cpu::order_key(-std::numeric_limits<float>::quiet_NaN()) == 0xFFFFFFFF);
}

TEST_CASE("basic ops: keep_top_k keeps ties and NaN, and changes nothing where fewer than k are positive") {
  for (DType dtype : {DType::float64, DType::float32, DType::bf16}) {
    CHECK(keep_top_k(row({3, 5, 5, 1, 5, 2}, dtype), 2).values() == std::vector<double>{0, 5, 5, 0, 5, 0});
    CHECK(keep_top_k(row({0, 5, 0, 1, 0, 0}, dtype), 4).values() == std::vector<double>{0, 5, 0, 1, 0, 0});
    CHECK(keep_top_k(row({-3, -5, -1}, dtype), 2).values() == std::vector<double>{-3, 0, -1});
    const auto with_nan = keep_top_k(row({3, NAN, 5}, dtype), 2).values();
    CHECK(with_nan[0] == 0);
    CHECK(std::isnan(with_nan[1]));
    CHECK(with_nan[2] == 5);
    const Tensor x = require_gradient(row({3, 5, 5, 1, 5, 2}, dtype));
    CHECK(gradient_of(keep_top_k(x, 2), x, row({1, 2, 3, 4, 5, 6}, dtype)).values() ==
          std::vector<double>{0, 2, 3, 0, 5, 0});
  }
}
