// Numbers at the edges of their type: rows far from zero or out of the range of squares, decays next to 1, rows of
// infinities. Expected values are computed in long double, from the inputs as the op sees them.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "autograd/autograd.h"
#include "core/device.h"
#include "ops/adamw_update.h"
#include "ops/cross_entropy.h"
#include "ops/layer_norm.h"
#include "ops/log_mean_softmax.h"
#include "ops/logsumexp.h"
#include "ops/residual_layer_norm.h"
#include "ops/support/samples.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;

namespace {

using Real = long double;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The largest |got - expected| over the largest |expected|, or over `least` where that is more.
double error_of(const Tensor& got, const std::vector<Real>& expected, double least = 0) {
  const std::vector<double> values = got.values();
  REQUIRE(values.size() == expected.size());
  Real scale = least, worst = 0;
  for (const Real e : expected) scale = std::max(scale, std::abs(e));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Real difference = std::abs(static_cast<Real>(values[i]) - expected[i]);
    worst = difference <= worst ? worst : std::isnan(difference) ? Real(INFINITY) : difference;
  }
  return static_cast<double>(scale > 0 ? worst / scale : worst);
}

struct NormCase {
  std::string name;
  double eps;
  std::function<double(double)> row;  // of a uniform number in [-1, 1)
  bool float64_only = false;
};

const std::vector<NormCase>& norm_cases() {
  static const std::vector<NormCase> cases{{"usual", 1e-5, [](double u) { return u; }},
                                           {"10,000 +- 1e-3", 1e-5, [](double u) { return 1e4 + 1e-3 * u; }},
                                           {"10,000 +- 1e-3, no eps", 0, [](double u) { return 1e4 + 1e-3 * u; }},
                                           {"-10,000 +- 100", 1e-5, [](double u) { return -1e4 + 100 * u; }},
                                           {"all 10,000.123", 1e-5, [](double) { return 10000.123; }},
                                           {"all 1e30", 1e-5, [](double) { return 1e30; }},
                                           {"all 3.7, no eps", 0, [](double) { return 3.7; }},
                                           {"1e19", 1e-5, [](double u) { return 1e19 * u; }},
                                           {"1e30 +- 1e27", 1e-5, [](double u) { return 1e30 + 1e27 * u; }},
                                           {"3e38", 1e-5, [](double u) { return 3e38 * u; }},
                                           {"sums beyond float32", 1e-5, [](double u) { return 3e38 + 3e37 * u; }},
                                           {"1e-25, no eps", 0, [](double u) { return 1e-25 * u; }},
                                           {"1e-12, small eps", 1e-30, [](double u) { return 1e-12 * u; }},
                                           {"1e200", 1e-5, [](double u) { return 1e200 * u; }, true},
                                           {"1e-200, no eps", 0, [](double u) { return 1e-200 * u; }, true}};
  return cases;
}

struct NormInputs {
  Tensor x, weight, bias, dy;
};

struct NormResults {
  std::vector<Real> y, dx, dweight, dbias;
  bool defined = true;
};

// A row without deviations becomes 0 with any eps; without eps it has no gradient, and `defined` is false.
NormResults norm_of(const NormInputs& in, double eps) {
  const std::vector<double> x = in.x.values(), w = in.weight.values(), b = in.bias.values(), dy = in.dy.values();
  const std::size_t D = w.size();
  const auto count = static_cast<Real>(D);
  NormResults out{std::vector<Real>(x.size()), std::vector<Real>(x.size()), std::vector<Real>(D), std::vector<Real>(D),
                  true};
  for (std::size_t start = 0; start < x.size(); start += D) {
    const auto z = [&](std::size_t c) { return x[start + c] - static_cast<Real>(x[start]); };  // exact, or nearly so
    Real mean = 0, variance = 0, mean_g = 0, mean_gn = 0;
    for (std::size_t c = 0; c < D; ++c) mean += z(c) / count;
    for (std::size_t c = 0; c < D; ++c) variance += (z(c) - mean) * (z(c) - mean) / count;
    const Real deviation = std::sqrt(variance + eps);
    const auto n = [&](std::size_t c) { return variance > 0 ? (z(c) - mean) / deviation : 0; };
    for (std::size_t c = 0; c < D; ++c) {
      out.y[start + c] = n(c) * w[c] + b[c];
      out.dweight[c] += dy[start + c] * n(c);
      out.dbias[c] += dy[start + c];
      mean_g += dy[start + c] * static_cast<Real>(w[c]) / count;
      mean_gn += dy[start + c] * static_cast<Real>(w[c]) * n(c) / count;
    }
    out.defined = out.defined && deviation > 0;
    for (std::size_t c = 0; c < D; ++c)
      out.dx[start + c] = (dy[start + c] * static_cast<Real>(w[c]) - mean_g - n(c) * mean_gn) / deviation;
  }
  return out;
}

NormInputs norm_inputs(const NormCase& norm, std::int64_t width, DType dtype, Device device) {
  const DType parameters = dtype == DType::bf16 ? DType::float32 : dtype;
  const Shape shape{3, width};
  std::vector<double> x = random_tensor(shape, 1).values();
  for (double& value : x) value = norm.row(value);
  const auto placed = [&](const Tensor& t, DType type) { return to_device(converted(t, type), device); };
  return {Tensor::from_values(shape, x, dtype, device), placed(random_tensor({width}, 2), parameters),
          placed(random_tensor({width}, 3), parameters), placed(random_tensor(shape, 4), dtype)};
}

// Calls f(case, width, dtype, device) for rows of every width that another team of threads serves.
template <class F>
void for_each_norm(F&& f) {
  for (const Device device : available_devices())
    for (const NormCase& norm : norm_cases())
      for (DType dtype : {DType::float64, DType::float32, DType::bf16})
        for (const std::int64_t width : {7, 96, 700, 3001}) {
          if (norm.float64_only && dtype != DType::float64) continue;
          INFO(norm.name, ", ", width, ", ", dtype_name(dtype), ", ", device_name(device));
          f(norm, width, dtype, device);
        }
}

double norm_tolerance(DType dtype) { return dtype == DType::float64 ? 1e-14 : dtype == DType::float32 ? 1e-6 : 4e-3; }

}  // namespace

TEST_CASE("extremes: layer norm is precise wherever its rows are") {
  for_each_norm([](const NormCase& norm, std::int64_t width, DType dtype, Device device) {
    const NormInputs in = norm_inputs(norm, width, dtype, device);
    const NormResults expected = norm_of(in, norm.eps);
    const std::vector<Tensor> leaves{require_gradient(in.x), require_gradient(in.weight), require_gradient(in.bias)};
    const Tensor y = layer_norm(leaves[0], leaves[1], leaves[2], norm.eps);
    const double tolerance = norm_tolerance(dtype);
    CHECK(error_of(y, expected.y) < tolerance);
    const std::vector<Tensor> got = gradients(std::vector{y}, leaves, std::vector{in.dy});
    if (expected.defined) CHECK(error_of(got[0], expected.dx) < 4 * tolerance);
    CHECK(error_of(got[1], expected.dweight, 1) < 4 * tolerance);
    CHECK(error_of(got[2], expected.dbias) < 4 * tolerance);
  });
}

TEST_CASE("extremes: so is the norm of a residual sum") {
  for_each_norm([](const NormCase& norm, std::int64_t width, DType dtype, Device device) {
    const NormInputs in = norm_inputs(norm, width, dtype, device);
    const NormResults expected = norm_of(in, norm.eps);
    const Tensor x = require_gradient(in.x);
    const auto out = residual_layer_norm(x, Tensor::zeros_like(in.x), in.weight, in.bias, norm.eps, 0, {});
    CHECK(error_of(out.normed, expected.y) < norm_tolerance(dtype));
    const Tensor dx = gradients(std::vector{out.normed}, std::vector{x}, std::vector{in.dy})[0];
    if (expected.defined) CHECK(error_of(dx, expected.dx) < 4 * norm_tolerance(dtype));
  });
}

TEST_CASE("extremes: infinities and NaN stay in their rows of a layer norm") {
  for (const Device device : available_devices())
    for (const double poison : {kInfinity, -kInfinity, double{NAN}}) {
      std::vector<double> x = random_tensor({2, 33}, 1).values();
      x[5] = poison;
      const Tensor one = Tensor::full({33}, 1, DType::float32, device);
      const std::vector<double> y =
          layer_norm(Tensor::from_values({2, 33}, x, DType::float32, device), one, one).values();
      for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i < 33));
    }
}

namespace {

struct Arena {
  Tensor values, gradients;
  AdamWState state;

  explicit Arena(const Tensor& start)
      : values(clone(start)),
        gradients(Tensor::zeros_like(start)),
        state{Tensor::zeros_like(start), Tensor::zeros_like(start), Tensor::zeros({}, DType::float64, start.device())} {
  }

  void update(const Tensor& g, double lr, const AdamWSettings& settings) {
    copy_into(g, gradients);
    const auto scalar = [&](double v) { return Tensor::full({}, v, DType::float64, values.device()); };
    adamw_update(values, gradients, state, scalar(lr), scalar(1), settings);
  }
};

}  // namespace

TEST_CASE("extremes: AdamW's moments with decays next to 1") {
  constexpr std::int64_t n = 37;
  for (const Device device : available_devices())
    for (const double beta : {0.0, 0.3, 0.9, 0.9999, 0.999999, 0.9999999, 0.99999999}) {
      INFO("beta ", beta, ", ", device_name(device));
      Arena arena(to_device(converted(random_tensor({n}, 1), DType::float32), device));
      const AdamWSettings settings{.beta1 = beta, .beta2 = beta, .eps = 1e-8};
      std::vector<Real> m(n), v(n), moved(n);
      const std::vector<double> start = arena.values.values();
      const Real decay = beta;
      for (int t = 1; t <= 400; ++t) {
        const Tensor g = converted(random_tensor({n}, static_cast<std::uint64_t>(t), 0.2, 1), DType::float32);
        const std::vector<double> given = g.values();
        arena.update(to_device(g, device), 1e-3, settings);
        for (std::size_t i = 0; i < n; ++i) {
          m[i] = decay * m[i] + (1 - decay) * given[i];
          v[i] = decay * v[i] + (1 - decay) * given[i] * given[i];
          const Real correction = 1 - std::pow(decay, Real(t));
          moved[i] += 1e-3L * (m[i] / correction) / (std::sqrt(v[i] / correction) + 1e-8L);
        }
      }
      CHECK(error_of(arena.state.first_moment, m) < 1e-6);
      CHECK(error_of(arena.state.second_moment, v) < 1e-6);
      for (std::size_t i = 0; i < n; ++i) moved[i] = start[i] - moved[i];
      CHECK(error_of(arena.values, moved, 1) < 1e-5);
    }
}

TEST_CASE("extremes: AdamW's weight decay is rounded once, with the weight") {
  for (const Device device : available_devices())
    for (const double decay : {1e-9, 3e-8, 2.5e-6, 1e-4}) {
      INFO("decay ", decay, ", ", device_name(device));
      Arena arena(to_device(converted(random_tensor({301}, 1, 1, 2), DType::float32), device));
      const std::vector<double> before = arena.values.values();
      arena.update(Tensor::zeros({301}, DType::float32, device), 1e-2, {.weight_decay = decay / 1e-2});
      const std::vector<double> after = arena.values.values();
      double worst = 0;  // in units of the last place of numbers in [1, 2)
      for (std::size_t i = 0; i < before.size(); ++i)
        worst = std::max(worst, std::abs(after[i] - before[i] * (1 - decay)) * 0x1p23);
      CHECK(worst < 0.51);
    }
}

TEST_CASE("extremes: AdamW leaves weights alone where it can say nothing") {
  for (const Device device : available_devices()) {
    const Tensor start = to_device(converted(random_tensor({9}, 1), DType::float32), device);
    Arena untouched(start), overflown(start);
    untouched.update(Tensor::zeros({9}, DType::float32, device), 1e-3, {.eps = 1e-60});  // 0 / 0 without eps
    CHECK(same_bits(untouched.values, start));
    for (int t = 0; t < 3; ++t)
      overflown.update(Tensor::full({9}, 1e38, DType::float32, device), 1e-3, {});  // squares are infinite
    CHECK(same_bits(overflown.values, start));
  }
}

namespace {

// Calls f(make) on every device and in every floating dtype, where make(shape, values) is a leaf of those.
template <class F>
void everywhere(F&& f) {
  for (const Device device : available_devices())
    for (DType dtype : {DType::float64, DType::float32, DType::bf16}) {
      INFO(device_name(device), ", ", dtype_name(dtype));
      f([=](const Shape& shape, const std::vector<double>& values) {
        return require_gradient(Tensor::from_values(shape, values, dtype, device));
      });
    }
}

std::vector<double> gradient_of_sum(const Tensor& y, const Tensor& x) {
  const Tensor dy = Tensor::full(y.shape(), 1, y.dtype(), y.device());
  return gradients(std::vector{y}, std::vector{x}, std::vector{dy})[0].values();
}

}  // namespace

TEST_CASE("extremes: the gradient of logsumexp where the sum is infinite") {
  everywhere([](const auto& make) {
    for (const std::int64_t width : {3, 40, 700, 5000}) {  // each with another team of threads
      INFO(width, " columns");
      const auto n = static_cast<std::size_t>(width);
      std::vector<double> x(3 * n, -kInfinity), expected(3 * n, 0);  // all masked; one infinity; two
      for (std::size_t c = 0; c < n; ++c) x[n + c] = x[2 * n + c] = static_cast<double>(c % 5);
      x[2 * n - 1] = x[2 * n] = x[2 * n + 1] = kInfinity;
      expected[2 * n - 1] = 1, expected[2 * n] = expected[2 * n + 1] = 0.5;
      const Tensor leaf = make({3, width}, x), y = logsumexp(leaf, 1);
      CHECK(y.values() == std::vector{-kInfinity, kInfinity, kInfinity});
      CHECK(gradient_of_sum(y, leaf) == expected);
    }
  });
  // The gradient's own gradient, too.
  const Tensor x = require_gradient(Tensor::from_values({2, 2}, std::vector{-kInfinity, -kInfinity, 0.0, 0.0}));
  const Tensor dy = require_gradient(Tensor::full({2}, 1, DType::float64));
  const Tensor dx = gradients(std::vector{logsumexp(x, 1)}, std::vector{x}, std::vector{dy}, {.create_graph = true})[0];
  const Tensor ddx = Tensor::from_values({2, 2}, std::vector{1.0, 1.0, 1.0, 0.0});
  CHECK(gradients(std::vector{dx}, std::vector{dy}, std::vector{ddx})[0].values() == std::vector{0.0, 0.5});
}

TEST_CASE("extremes: a column that is masked everywhere takes no part in log_mean_softmax") {
  const double m = -kInfinity;
  everywhere([&](const auto& make) {
    const Tensor with = make({3, 4}, {1, m, 2, 3, 0, m, 1, -1, 2, m, -2, 0.5});
    const Tensor without = make({3, 3}, {1, 2, 3, 0, 1, -1, 2, -2, 0.5});
    std::vector<double> expected = gradient_of_sum(log_mean_softmax(without), without);
    for (const std::ptrdiff_t place : {1, 5, 9}) expected.insert(expected.begin() + place, 0);
    for (const auto op : {log_mean_softmax, log_mean_softmax_composed}) {
      const std::vector<double> got = gradient_of_sum(op(with), with);
      const double tolerance = with.dtype() == DType::bf16 ? 3e-2 : 1e-6;
      for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - expected[i]) <= tolerance);
      CHECK(got[1] == 0);
    }
  });
}

TEST_CASE("extremes: cross entropy of masked and infinite logits is the same everywhere") {
  const double m = -kInfinity;
  everywhere([&](const auto& make) {
    const auto loss = [&](const std::vector<double>& logits, double target) {
      const Tensor x = make({1, 3}, logits);
      return cross_entropy(x, Tensor::from_values({1}, std::vector{target}, DType::int64, x.device())).item();
    };
    CHECK(loss({m, 4, m}, 1) == 0);
    CHECK(loss({m, 4, m}, 0) == kInfinity);
    CHECK(loss({kInfinity, 4, 0}, 1) == kInfinity);
    CHECK(std::isnan(loss({m, m, m}, 1)));  // no class is left: not defined
    CHECK(std::isnan(loss({1, NAN, 0}, 0)));
    const Tensor x = make({1, 3}, {0, m, 0});
    const Tensor target = Tensor::from_values({1}, std::vector{0.0}, DType::int64, x.device());
    CHECK(gradient_of_sum(cross_entropy(x, target), x) == std::vector{-0.5, 0.0, 0.5});
  });
}
