// Routing and experts beyond the generic op suite: ties and NaN, fused against composed, mixed precision.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/autograd.h"
#include "autograd/grad_check.h"
#include "core/parallel.h"
#include "ops/expert_feedforward.h"
#include "ops/grouped_matmul.h"
#include "ops/support/samples.h"
#include "ops/top_k.h"

using namespace weir;

namespace {

using Experts = decltype(&expert_feedforward);

struct Case {
  std::string name;
  std::int64_t n, d, experts, g, k;
  std::vector<double> index;
};

// Token n's slot k goes to choose(n, k).
template <class Choose>
Case make_case(const std::string& name, std::int64_t n, std::int64_t experts, std::int64_t k, Choose choose,
               std::int64_t d = 19, std::int64_t g = 11) {
  Case c{name, n, d, experts, g, k, {}};
  for (std::int64_t i = 0; i < n * k; ++i) c.index.push_back(static_cast<double>(choose(i / k, i % k)));
  return c;
}

std::vector<Case> cases() {
  return {make_case("mixed", 300, 7, 3, [](auto n, auto k) { return (n * n + 2 * k) % 7; }),
          make_case("all on one expert", 1500, 3, 1, [](auto, auto) { return 1; }),
          make_case("one expert chosen twice", 40, 4, 2, [](auto, auto) { return 2; }),
          make_case("empty experts", 65, 9, 2, [](auto n, auto k) { return n % 2 * 4 + k * 4; }),
          make_case("K = 1", 100, 5, 1, [](auto n, auto) { return n * 3 % 5; }),
          make_case("K = E", 70, 4, 4, [](auto n, auto k) { return (n + k) % 4; }),
          make_case(
              "several tiles", 90, 3, 2, [](auto n, auto k) { return (n % 2 + 2 * k) % 3; }, 140, 136)};
}

// x, gate, w1, w2, each a leaf; x in `activations`, the others in `parameters`.
std::vector<Tensor> leaves_of(const Case& c, DType activations, DType parameters) {
  std::vector<Tensor> leaves = {random_tensor({c.n, c.d}, 1), random_tensor({c.n, c.k}, 2, 0.1, 1),
                                random_tensor({c.experts, c.d, c.g}, 3), random_tensor({c.experts, c.g, c.d}, 4)};
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    leaves[i] = converted(leaves[i], i == 0 ? activations : parameters).detach();
    require_gradient(leaves[i]);
  }
  return leaves;
}

Tensor index_of(const Case& c) { return Tensor::from_values({c.n, c.k}, c.index, DType::int32); }

// y, then the gradients of x, gate, w1, w2.
std::vector<Tensor> run(Experts experts, const Case& c, std::vector<Tensor> leaves, const ExpertOptions& options = {},
                        Device device = {}) {
  for (Tensor& t : leaves) require_gradient(t = to_device(t.detach(), device).detach());
  const Tensor y = experts(leaves[0], leaves[1], to_device(index_of(c), device), leaves[2], leaves[3], options,
                           Float32Products::ieee);
  const Tensor dy = to_device(converted(random_tensor({c.n, c.d}, 5), y.dtype()), device);
  std::vector<Tensor> result = gradients(std::span(&y, 1), leaves, std::span(&dy, 1));
  result.insert(result.begin(), y.detach());
  return result;
}

// The largest difference, relative to the largest expected value or 1.
double difference(const Tensor& got, const Tensor& expected) {
  REQUIRE(got.shape() == expected.shape());
  const std::vector<double> a = got.values(), b = expected.values();
  double scale = 1, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    scale = std::max(scale, std::abs(b[i]));
    const double apart = std::abs(a[i] - b[i]);
    largest = std::isnan(apart) ? std::numeric_limits<double>::infinity() : std::max(largest, apart);
  }
  return largest / scale;
}

const std::string kNames[] = {"y", "dx", "dgate", "dw1", "dw2"};

}  // namespace

TEST_CASE("moe: the fused experts agree with the composed ones") {
  for (const Case& c : cases()) {
    for (const auto& [dtype, tolerance] : {std::pair{DType::float64, 1e-12}, std::pair{DType::float32, 1e-5}}) {
      const auto leaves = leaves_of(c, dtype, dtype);
      const auto composed = run(expert_feedforward_composed, c, leaves);
      for (const Device device : available_devices()) {
        const auto fused = run(expert_feedforward, c, leaves, {}, device);
        for (std::size_t i = 0; i < fused.size(); ++i) {
          INFO(c.name, " / ", dtype_name(dtype), " / ", kNames[i], " / ", device_name(device));
          CHECK(difference(composed[i], Tensor::zeros_like(composed[i])) > 0.01);
          CHECK(difference(fused[i], composed[i]) < tolerance);
        }
      }
    }
  }
}

TEST_CASE("moe: an expert without tokens gets a gradient of zero") {
  const Case c = make_case("half idle", 30, 4, 1, [](auto n, auto) { return n % 2; });
  for (const Device device : available_devices())
    for (DType dtype : {DType::float32, DType::bf16}) {
      const auto fused = run(expert_feedforward, c, leaves_of(c, dtype, dtype), {}, device);
      for (const Tensor& dw : {fused[3], fused[4]}) {
        const std::vector<double> idle = slice_view(dw, 0, 2, 4).values();
        CHECK(std::all_of(idle.begin(), idle.end(), [](double v) { return v == 0; }));
      }
    }
}

TEST_CASE("moe: the composed experts are twice differentiable") {
  const Case c = make_case("small", 7, 3, 2, [](auto n, auto k) { return (n + k) % 3; });
  const Tensor index = index_of(c);
  std::vector<Tensor> inputs = leaves_of(c, DType::float64, DType::float64);
  for (Tensor& t : inputs) t = t.detach();
  const auto run_composed = [&](std::span<const Tensor> in) {
    return std::vector{expert_feedforward_composed(in[0], in[1], index, in[2], in[3])};
  };
  CHECK(grad_check(run_composed, inputs, {.second_order = true}) == "");
}

TEST_CASE("moe: bf16 tokens with float32 parameters") {
  for (const Case& c : cases()) {
    auto leaves = leaves_of(c, DType::bf16, DType::float32);
    auto exact_leaves = leaves_of(c, DType::float64, DType::float64);
    // Both sides see the same x and w1, or ReLU would cut at other places.
    for (std::size_t i : {0, 2}) {
      const Tensor rounded = converted(leaves[i].detach(), DType::bf16);
      leaves[i] = require_gradient(converted(rounded, leaves[i].dtype()).detach());
      exact_leaves[i] = require_gradient(converted(rounded, DType::float64).detach());
    }
    const auto exact = run(expert_feedforward_composed, c, exact_leaves);
    for (const Device device : available_devices()) {
      const auto mixed = run(expert_feedforward, c, leaves, {}, device);
      for (std::size_t i = 0; i < mixed.size(); ++i) {
        INFO(c.name, " / ", kNames[i], " / ", device_name(device));
        CHECK(mixed[i].dtype() == (i < 2 ? DType::bf16 : DType::float32));
        CHECK(difference(mixed[i], exact[i]) < 2e-2);
      }
    }
  }
}

TEST_CASE("moe: grouped_matmul of bf16 rows and float32 weights has float32 weight gradients") {
  const Tensor offsets = Tensor::from_values({4}, std::vector<double>{0, 40, 40, 325}, DType::int64);
  const Tensor x = random_tensor({325, 13}, 1), w = random_tensor({3, 13, 9}, 2), dy = random_tensor({325, 9}, 3);
  const auto gradients_in = [&](DType rows, DType weights, Device device) {
    const auto leaf = [&](const Tensor& t) { return require_gradient(to_device(t, device).detach()); };
    const std::vector<Tensor> leaves = {leaf(converted(converted(x, DType::bf16), rows)), leaf(converted(w, weights))};
    const Tensor y = grouped_matmul(leaves[0], leaves[1], to_device(offsets, device)),
                 weighting = to_device(converted(dy, rows), device);
    auto result = gradients(std::span(&y, 1), leaves, std::span(&weighting, 1));
    result.push_back(y);
    return result;
  };
  const auto exact = gradients_in(DType::float64, DType::float64, {});
  for (const Device device : available_devices()) {
    const auto mixed = gradients_in(DType::bf16, DType::float32, device);
    CHECK(mixed[0].dtype() == DType::bf16);
    CHECK(mixed[1].dtype() == DType::float32);
    for (std::size_t i = 0; i < mixed.size(); ++i) CHECK(difference(mixed[i], exact[i]) < 2e-2);
  }
}

TEST_CASE("moe: grouped_matmul of bf16 sums in float, whatever the tiles") {
  // Multiples of 1/8 from -1 to 1: products and sums are exact in float, so any order of summation gives the same bits.
  const auto exact = [](const Shape& shape, std::int64_t seed) {
    std::vector<double> values(static_cast<std::size_t>(shape.product()));
    auto state = static_cast<std::uint32_t>(seed);
    for (double& v : values) {
      state = state * 1664525u + 1013904223u;
      v = static_cast<double>(state >> 16) / 4096 - 8;
      v = std::floor(v) / 8;
    }
    return Tensor::from_values(shape, values);
  };
  for (const auto& [d, g] : {std::pair<std::int64_t, std::int64_t>{300, 200}, {33, 129}, {412, 128}, {7, 1}}) {
    const Tensor offsets = Tensor::from_values({6}, std::vector<double>{0, 131, 131, 132, 1304, 1400}, DType::int64);
    const Tensor x = exact({1400, d}, 1), w = exact({5, d, g}, 2), dy = exact({1400, g}, 3);
    const auto results = [&](DType rows, DType weights, Device device) {
      const auto leaf = [&](const Tensor& t, DType dtype) {
        return require_gradient(to_device(converted(t, dtype), device).detach());
      };
      const std::vector<Tensor> leaves = {leaf(x, rows), leaf(w, weights)};
      const Tensor y = grouped_matmul(leaves[0], leaves[1], to_device(offsets, device)),
                   weighting = to_device(converted(dy, rows), device);
      auto result = gradients(std::span(&y, 1), leaves, std::span(&weighting, 1));
      result.push_back(y.detach());
      return result;
    };
    const auto expected = results(DType::float64, DType::float64, {});
    for (const Device device : available_devices()) {
      const auto got = results(DType::bf16, DType::float32, device);
      for (std::size_t i = 0; i < got.size(); ++i) {
        INFO(d, " x ", g, " / result ", i, " / ", device_name(device));
        CHECK(got[i].values() == converted(expected[i], got[i].dtype()).values());
      }
    }
  }
}

TEST_CASE("moe: top_k takes the lower index of equals and NaN last") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const std::vector<double> row = {1, nan, 3, 3, -inf, 1, nan, 3, 0, -0.0};
  const std::vector<double> expected = {2, 3, 7, 0, 5, 8, 9, 4, 1, 6};
  for (DType dtype : {DType::float64, DType::float32, DType::bf16})
    for (std::int64_t k = 1; k <= 10; ++k) {
      const std::vector<double> indices = top_k(Tensor::from_values({10}, row, dtype), k).indices.values();
      CHECK(indices == std::vector<double>(expected.begin(), expected.begin() + k));
    }
  // Long enough for the other way of choosing: the row repeated, so every value ties with its copies.
  std::vector<double> repeated, expected_repeated;
  for (int copy = 0; copy < 4; ++copy) repeated.insert(repeated.end(), row.begin(), row.end());
  for (const std::vector<double>& ties : {std::vector<double>{2, 3, 7}, {0, 5}, {8, 9}, {4}, {1, 6}})
    for (int copy = 0; copy < 4; ++copy)
      for (double place : ties) expected_repeated.push_back(place + 10 * copy);
  for (std::int64_t k : {32, 33, 37, 40}) {
    const std::vector<double> indices = top_k(Tensor::from_values({40}, repeated), k).indices.values();
    CHECK(indices == std::vector<double>(expected_repeated.begin(), expected_repeated.begin() + k));
  }
}

TEST_CASE("moe: dropout and hidden_k, fused against composed") {
  for (const Case& c : cases()) {
    const RandomStream random{5, 6, 7};
    for (const ExpertOptions& options :
         {ExpertOptions{.dropout = 0.3, .random = random}, ExpertOptions{.hidden_k = 1}, ExpertOptions{.hidden_k = 4},
          ExpertOptions{.hidden_k = c.k * c.g}, ExpertOptions{.dropout = 0.3, .hidden_k = 2, .random = random}}) {
      const auto leaves = leaves_of(c, DType::float64, DType::float64);
      const auto composed = run(expert_feedforward_composed, c, leaves, options),
                 all = run(expert_feedforward, c, leaves);
      for (const Device device : available_devices()) {
        const auto fused = run(expert_feedforward, c, leaves, options, device);
        for (std::size_t i = 0; i < fused.size(); ++i) {
          INFO(c.name, " / dropout ", options.dropout, " / hidden_k ", options.hidden_k, " / ", kNames[i], " / ",
               device_name(device));
          CHECK(difference(fused[i], composed[i]) < 1e-12);
          CHECK((difference(fused[i], all[i]) > 1e-3) == (options.hidden_k != c.k * c.g));
        }
        if (options.hidden_k > 0) continue;  // rounding changes which are the largest
        const auto rounded = run(expert_feedforward, c, leaves_of(c, DType::bf16, DType::float32), options, device);
        CHECK(difference(rounded[0], fused[0]) < 0.03);
      }
    }
  }
}

TEST_CASE("moe: dropout is a function of token, slot and unit; hidden_k keeps what ties") {
  // With w1 = 1 and w2 the identity, y shows the hidden units themselves.
  constexpr std::int64_t N = 3, K = 2, G = 5;
  const Tensor x = Tensor::full({N, G}, 1, DType::float64), w1 = Tensor::full({2, G, G}, 0.2, DType::float64);
  std::vector<double> identity(2 * G * G);
  for (std::size_t i = 0; i < identity.size(); ++i) identity[i] = i % (G * G) / G == i % G ? 1 : 0;
  const Tensor w2 = Tensor::from_values({2, G, G}, identity);
  const Tensor gate = Tensor::from_values({N, K}, std::vector<double>{1, 2, 2, 1, 2, 2});
  const Tensor index = Tensor::from_values({N, K}, std::vector<double>{0, 1, 1, 0, 0, 0}, DType::int32);
  const ExpertOptions dropout{.dropout = 0.5, .random = {1, 2, 3}};
  const auto dropped = expert_feedforward(x, gate, index, w1, w2, dropout).values(), weight = gate.values();
  for (std::size_t n = 0; n < N; ++n)
    for (std::size_t g = 0; g < G; ++g) {
      double expected = 0;
      for (std::size_t pair = n * K; pair < n * K + K; ++pair)
        expected += dropout.random.uniform(pair * G + g) >= 0.5f ? 2 * weight[pair] : 0;
      CHECK(dropped[n * G + g] == doctest::Approx(expected));
    }
  // Of a token's units, those of the expert with weight 2 are the largest and all equal: asked for one, all stay.
  for (const DType dtype : {DType::float64, DType::float32, DType::bf16})
    for (const Experts experts : {expert_feedforward, expert_feedforward_composed}) {
      const auto sums = [&](std::int64_t hidden_k) {
        return experts(converted(x, dtype), converted(gate, dtype), index, converted(w1, dtype), converted(w2, dtype),
                       {.hidden_k = hidden_k}, Float32Products::ieee)
            .values();
      };
      for (std::int64_t hidden_k : {1, 5}) {
        const auto y = sums(hidden_k);
        for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == doctest::Approx(i < 2 * G ? 2 : 4).epsilon(0.01));
      }
      for (double v : sums(6)) CHECK(v > 2.9);
    }
}

TEST_CASE("moe: hidden_k lets NaN through") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = Tensor::from_values({1, 2}, std::vector<double>{nan, 1}),
               w = Tensor::full({1, 2, 2}, 1, DType::float64);
  const Tensor gate = Tensor::full({1, 1}, 1, DType::float64), index = Tensor::zeros({1, 1}, DType::int32);
  for (double v : expert_feedforward(x, gate, index, w, w, {.hidden_k = 1}).values()) CHECK(std::isnan(v));
}
