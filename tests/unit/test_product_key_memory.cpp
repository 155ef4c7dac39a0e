// The product-key memory as a feedforward: against a plain computation, and in bf16.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "models/transformer_xl.h"
#include "ops/support/samples.h"
#include "tensor_checks.h"

using namespace weir;

namespace {

ModelConfig one_layer() {
  return {.vocabulary = 11, .d_model = 12, .layers = 1, .heads = 2, .head_size = 5, .segment = 6};
}

FeedforwardConfig product_keys(std::int64_t sub_keys, std::int64_t heads, std::int64_t k) {
  return {.kind = "pkm", .k = k, .sub_keys = sub_keys, .key_heads = heads};
}

double largest(const std::vector<double>& values) {
  double result = 0;
  for (double v : values) result = std::max(result, std::abs(v));
  return result;
}

}  // namespace

TEST_CASE("product keys: every activation against a plain computation over all pairs") {
  constexpr std::size_t kTokens = 10, D = 12, H = 2, n = 5;
  for (const std::string activation : {"relu", "softmax"})
    for (const std::int64_t k : {1, 3, 4, 5, 25}) {
      CAPTURE(activation);
      CAPTURE(k);
      FeedforwardConfig ff = product_keys(n, H, k);
      ff.activation = activation;
      TransformerXl model(one_layer(), ff);
      model.initialise(9, DType::float64);
      const auto keys_a = model.parameters().at("layer0.ff.keys_a").value.values();
      const auto keys_b = model.parameters().at("layer0.ff.keys_b").value.values();
      const auto stored = model.parameters().at("layer0.ff.values").value.values();
      const Tensor input = random_tensor({2, 5, D}, 8);
      const auto x = input.values();
      std::vector<double> expected(kTokens * D);
      for (std::size_t token = 0; token < kTokens; ++token) {
        std::vector<std::pair<double, std::size_t>> taken;  // scores with the values they weigh
        std::vector<double> added(n * n);
        for (std::size_t h = 0; h < H; ++h) {
          std::vector<std::pair<double, std::size_t>> pairs;
          for (std::size_t pair = 0; pair < n * n; ++pair) {
            double score = 0;
            for (std::size_t d = 0; d < D / 2; ++d)
              score += x[token * D + d] * keys_a[(h * n + pair / n) * (D / 2) + d] +
                       x[token * D + D / 2 + d] * keys_b[(h * n + pair % n) * (D / 2) + d];
            pairs.emplace_back(score, pair);
            added[pair] += score;
          }
          std::sort(pairs.rbegin(), pairs.rend());
          taken.insert(taken.end(), pairs.begin(), pairs.begin() + k);
        }
        if (k >= static_cast<std::int64_t>(n)) {
          taken.clear();
          for (std::size_t pair = 0; pair < n * n; ++pair) taken.emplace_back(added[pair], pair);
        }
        double total = 0;
        for (const auto& [score, pair] : taken) total += std::exp(score);
        for (const auto& [score, pair] : taken)
          for (std::size_t d = 0; d < D; ++d)
            expected[token * D + d] +=
                (activation == "relu" ? std::max(score, 0.0) : std::exp(score) / total) * stored[pair * D + d];
      }
      CHECK(max_difference(model.feedforward(0)(input, {}).y, Tensor::from_values({2, 5, D}, expected)) < 1e-12);
    }
}

// Where two scores are close, rounding may choose the other: those tokens differ, the rest do not.
TEST_CASE("product keys: bf16 agrees with float32 but for tokens whose selection flips") {
  constexpr std::int64_t D = 12, kTokens = 200;
  TransformerXl model(one_layer(), product_keys(16, 2, 4));
  model.initialise(9);
  const Tensor x = converted(random_tensor({1, kTokens, D}, 8), DType::bf16);
  const Tensor y = model.feedforward(0)(x, {}).y;
  CHECK(y.dtype() == DType::bf16);
  const auto rounded = y.values(), exact = model.feedforward(0)(converted(x, DType::float32), {}).y.values();
  int close = 0;
  for (std::size_t token = 0; token < kTokens; ++token) {
    double difference = 0;
    for (std::size_t d = token * D; d < (token + 1) * D; ++d)
      difference = std::max(difference, std::abs(rounded[d] - exact[d]));
    close += difference < 1e-2 * largest(exact);
  }
  CHECK(close > 0.9 * kTokens);
}
