// The selections whose routers carry state or in which experts choose: each against a plain loop, forward and gradient,
// on every device.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>

#include "autograd/autograd.h"
#include "core/error.h"
#include "models/initialise.h"
#include "models/moe.h"
#include "models/routing/router.h"
#include "op_suite.h"
#include "ops/dropout.h"
#include "ops/support/samples.h"
#include "tensor_checks.h"
#include "train/expert_metrics.h"

using namespace weir;
using namespace weir::routing;
using namespace weir::tests;

namespace {

constexpr ForwardContext kTraining{.training = true, .seed = 4, .step = 3};
constexpr std::size_t N = 10, D = 6, E = 4, G = 5, K = 2, C = N * K / E;

using Values = std::vector<double>;

FeedforwardConfig config_of(const std::string& selection, const std::string& gate = "sigmoid") {
  return {.kind = "moe",
          .experts = E,
          .expert_size = G,
          .k = K,
          .selection = selection,
          .gate = gate,
          .regulariser = "none"};
}

// x [N, D], router [E, D], w1 [E, D, G], w2 [E, G, D].
struct Weights {
  Values x, router, w1, w2;
};

Values logits_of(const Weights& w) {
  Values z(N * E);
  for (std::size_t i = 0; i < z.size(); ++i)
    for (std::size_t d = 0; d < D; ++d) z[i] += w.x[i / E * D + d] * w.router[i % E * D + d];
  return z;
}

Values softmax_of(const Values& z) {
  Values p(z.size());
  for (std::size_t n = 0; n < z.size() / E; ++n) {
    double total = 0;
    for (std::size_t e = 0; e < E; ++e) total += p[n * E + e] = std::exp(z[n * E + e]);
    for (std::size_t e = 0; e < E; ++e) p[n * E + e] /= total;
  }
  return p;
}

Values sigmoid_of(Values z) {
  for (double& v : z) v = 1 / (1 + std::exp(-v));
  return z;
}

using Pairs = std::vector<std::pair<std::size_t, std::size_t>>;  // token, expert

// The `count` best of 0 .. n - 1 by score, the lower number first where they are equal.
std::vector<std::size_t> best(std::size_t n, std::size_t count, const std::function<double(std::size_t)>& score) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score(a) > score(b); });
  order.resize(count);
  return order;
}

Pairs experts_choose(const Values& z, std::size_t each = C) {
  const Values p = softmax_of(z);
  Pairs pairs;
  for (std::size_t e = 0; e < E; ++e)
    for (std::size_t n : best(N, each, [&](std::size_t t) { return p[t * E + e]; })) pairs.emplace_back(n, e);
  return pairs;
}

Pairs tokens_choose(const Values& z, const Values& bias) {
  const Values s = sigmoid_of(z);
  Pairs pairs;
  for (std::size_t n = 0; n < N; ++n)
    for (std::size_t e : best(E, K, [&](std::size_t i) { return s[n * E + i] + bias[i]; })) pairs.emplace_back(n, e);
  return pairs;
}

// sum over the pairs of gate * relu(x w1) w2, times dy, summed.
double loss_of(const Weights& w, const Pairs& pairs, bool softmax, const Values& dy) {
  const Values gate = softmax ? softmax_of(logits_of(w)) : sigmoid_of(logits_of(w));
  double loss = 0;
  for (const auto& [n, e] : pairs)
    for (std::size_t g = 0; g < G; ++g) {
      double h = 0;
      for (std::size_t d = 0; d < D; ++d) h += w.x[n * D + d] * w.w1[(e * D + d) * G + g];
      for (std::size_t d = 0; d < D && h > 0; ++d)
        loss += dy[n * D + d] * gate[n * E + e] * h * w.w2[(e * G + g) * D + d];
    }
  return loss;
}

// The slope of loss_of along every single number, by central differences; the pairs stay.
Weights slopes_of(Weights w, const Pairs& pairs, bool softmax, const Values& dy) {
  Weights slopes = w;
  for (const auto member : {&Weights::x, &Weights::router, &Weights::w1, &Weights::w2})
    for (std::size_t i = 0; i < (w.*member).size(); ++i) {
      const double value = (w.*member)[i], step = 1e-5;
      (w.*member)[i] = value + step;
      const double above = loss_of(w, pairs, softmax, dy);
      (w.*member)[i] = value - step;
      (slopes.*member)[i] = (above - loss_of(w, pairs, softmax, dy)) / (2 * step);
      (w.*member)[i] = value;
    }
  return slopes;
}

struct Layer {
  Layer(const FeedforwardConfig& config, Device device, DType dtype = DType::float64)
      : moe(parameters, "ff", 0, {.d_model = D, .layers = 2}, config) {
    parameters.allocate(dtype, 11, device);
    for (const Parameter& p : parameters.parameters())
      copy_into(to_device(converted(random_tensor(p.shape, 20), dtype), device), p.value);
  }
  Weights weights(const Tensor& x) const {
    const auto values = [&](const char* name) { return parameters.at(name).value.values(); };
    return {x.values(), values("ff.router"), values("ff.w1"), values("ff.w2")};
  }
  ParameterSet parameters;
  Moe moe;
};

double largest_difference(const Values& a, const Values& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

// Where a selection declares what it needs.
struct Part {
  explicit Part(const char* name, FeedforwardConfig config, std::int64_t experts)
      : choose(registry<Selection>().find(name)({parameters, "ff", {experts, D}, initialise::constant(0), config})) {
    parameters.allocate(DType::float64, 1);
  }
  ParameterSet parameters;
  Selection::Choose choose;
};

}  // namespace

TEST_CASE("expert choice and balancing by biases: values and gradients of a plain loop") {
  for (const char* selection : {"expert-choice", "bias-balanced"})
    for (const bool softmax : {true, false})
      for (const Device device : available_devices()) {
        CAPTURE(selection);
        CAPTURE(softmax);
        CAPTURE(device_name(device));
        const Layer layer(config_of(selection, softmax ? "softmax" : "sigmoid"), device);
        Values bias(E);
        if (!layer.parameters.buffers().empty()) {
          bias = {0.3, -0.2, 0.1, -0.4};
          copy_into(Tensor::from_values({E}, bias), layer.parameters.buffer("ff.expert_bias").value);
        }
        const Tensor values = random_tensor({2, N / 2, D}, 3), dy = random_tensor({2, N / 2, D}, 4);
        const Tensor x = require_gradient(to_device(values, device).detach());
        const Tensor y = layer.moe(x, kTraining).y;
        backward(std::vector{y}, std::vector{to_device(dy, device)});

        const Weights w = layer.weights(values);
        const bool by_experts = std::string(selection) == "expert-choice";
        const Pairs pairs = by_experts ? experts_choose(logits_of(w)) : tokens_choose(logits_of(w), bias);
        Values expected(N * D), one(N * D);
        for (std::size_t i = 0; i < expected.size(); ++i) {
          std::fill(one.begin(), one.end(), 0);
          one[i] = 1;
          expected[i] = loss_of(w, pairs, softmax, one);
        }
        CHECK(largest_difference(y.values(), expected) < 1e-12);
        const Weights slopes = slopes_of(w, pairs, softmax, dy.values());
        CHECK(largest_difference(gradient(x).values(), slopes.x) < 1e-7);
        const auto of = [&](const char* name) { return gradient(layer.parameters.at(name).value).values(); };
        CHECK(largest_difference(of("ff.router"), slopes.router) < 1e-7);
        CHECK(largest_difference(of("ff.w1"), slopes.w1) < 1e-7);
        CHECK(largest_difference(of("ff.w2"), slopes.w2) < 1e-7);
        CHECK(largest_difference(slopes.router, Values(E * D)) > 1e-2);
      }
}

TEST_CASE("expert choice: some tokens get no expert, others many, and bf16 follows") {
  FeedforwardConfig config = config_of("expert-choice");
  config.k = 1;
  const Layer exact(config, {});
  const Tensor x = random_tensor({1, N, D}, 3);
  std::vector<std::size_t> of_token(N);
  for (const auto& [n, e] : experts_choose(logits_of(exact.weights(x)), (N + E - 1) / E)) ++of_token[n];
  CHECK(*std::min_element(of_token.begin(), of_token.end()) == 0);
  CHECK(*std::max_element(of_token.begin(), of_token.end()) > 1);
  const auto y = exact.moe(x, kTraining).y.values();
  for (std::size_t i = 0; i < y.size(); ++i)
    if (of_token[i / D] == 0) CHECK(y[i] == 0);
  for (const Device device : available_devices()) {
    const Layer single(config, device, DType::float32);
    const Tensor rounded = to_device(converted(x, DType::bf16), device);
    const auto got = single.moe(rounded, kTraining).y;
    CHECK(got.dtype() == DType::bf16);
    const auto reference = exact.moe(converted(converted(x, DType::bf16), DType::float64), kTraining).y;
    CHECK(max_difference(to_device(got.detach(), {}), reference.detach()) < 0.1);
  }
}

TEST_CASE("expert choice: every expert takes its share, whatever the number of tokens") {
  const Part part("expert-choice", config_of("expert-choice"), 7);
  const auto choose = [&](const Tensor& logits, std::int64_t k, const ForwardContext& context = kTraining) {
    return part.choose({logits, {}}, {context, 0, 1, k});
  };
  for (const std::int64_t tokens : {1, 5, 7, 33})
    for (const std::int64_t k : {1, 3, 7}) {
      const Choice choice = choose(random_tensor({tokens, 7}, 5), k);
      const std::int64_t each = (tokens * k + 6) / 7;
      CHECK(choice.index.shape() == Shape{7 * each, 1});
      const auto index = choice.index.values(), whose = choice.tokens.values();
      for (std::size_t e = 0; e < 7; ++e) {
        CHECK(std::count(index.begin(), index.end(), static_cast<double>(e)) == each);
        const auto begin = whose.begin() + static_cast<std::int64_t>(e) * each;
        const std::set<double> distinct(begin, begin + each);
        CHECK(static_cast<std::int64_t>(distinct.size()) == each);  // none twice
      }
    }
  // Ties: the earlier token. In evaluation a token's experts are its own affair.
  CHECK(choose(Tensor::zeros({14, 7}, DType::float64), 1).tokens.values() ==
        Values{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1});
  const Tensor logits = random_tensor({9, 7}, 6);
  const Choice own = choose(logits, 3, {});
  CHECK_FALSE(own.tokens.defined());
  CHECK(same_bits(own.index, Part("top-k", {}, 7).choose({logits, {}}, {kTraining, 0, 1, 3}).index));
}

TEST_CASE("expert choice: a barred expert takes a token only where too few are left") {
  FeedforwardConfig config = config_of("expert-choice");
  config.expert_dropout = 0.5;
  ParameterSet parameters;
  const Router router(parameters, "ff", 0, D, config, initialise::normal(1));
  parameters.allocate(DType::float64, 5);
  const Routed routed = router(random_tensor({200, D}, 3), 4, kTraining);
  const auto mask = keep_mask({200, E}, 0.5, kTraining.random(RandomPlace::expert_mask), DType::float64).values();
  const auto index = routed.index.values(), tokens = routed.tokens.values(), gate = routed.gate.values();
  std::vector<std::int64_t> left(E);
  for (std::size_t i = 0; i < mask.size(); ++i) left[i % E] += mask[i] != 0;
  std::size_t barred = 0;
  for (std::size_t r = 0; r < gate.size(); ++r) {
    const auto e = static_cast<std::size_t>(index[r]);
    const bool kept = mask[static_cast<std::size_t>(tokens[r]) * E + e] != 0;
    CHECK((gate[r] > 0) == kept);
    barred += !kept;
  }
  std::size_t missing = 0;
  for (std::int64_t n : left) missing += static_cast<std::size_t>(std::max<std::int64_t>(0, 100 - n));
  CHECK(barred == missing);
}

TEST_CASE("balancing by biases: step by step as a plain loop, until the experts are used evenly") {
  constexpr std::size_t tokens = 256, experts = 16, k = 4;
  constexpr double rate = 0.01;
  FeedforwardConfig config = config_of("bias-balanced");
  config.bias_update_rate = rate;
  const Part part("bias-balanced", config, experts);
  const RandomStream own{1, 1, 1}, shared{1, 2, 1};
  Values z(tokens * experts);
  for (std::size_t i = 0; i < z.size(); ++i) z[i] = own.normal(i) + shared.normal(i % experts);
  const Values s = sigmoid_of(z);
  const Tensor logits = Tensor::from_values({tokens, experts}, z);
  Values bias(experts);
  std::int64_t most_at_first = 0, most_at_last = 0, least_at_last = 0;
  for (int step = 0; step < 200; ++step) {
    std::vector<Observation> observed;
    const Values index = part.choose({logits, {}}, {kTraining, 0, 1, k, &observed}).index.values();
    std::vector<std::int64_t> load(experts);
    Values expected;
    for (std::size_t n = 0; n < tokens; ++n)
      for (std::size_t e : best(experts, k, [&](std::size_t i) { return s[n * experts + i] + bias[i]; })) {
        expected.push_back(static_cast<double>(e));
        ++load[e];
      }
    REQUIRE(index == expected);
    part.parameters.update_buffers(observed, Tensor::full({}, 1, DType::float64));
    for (std::size_t e = 0; e < experts; ++e)
      bias[e] += load[e] < 64 ? rate : load[e] > 64 ? -rate : 0;  // 64 pairs each would be even
    REQUIRE(part.parameters.buffer("ff.expert_bias").value.values() == bias);
    if (step == 0) most_at_first = *std::max_element(load.begin(), load.end());
    most_at_last = *std::max_element(load.begin(), load.end());
    least_at_last = *std::min_element(load.begin(), load.end());
  }
  CHECK(most_at_first > 120);
  CHECK(most_at_last < 80);
  CHECK(least_at_last > 48);
}

TEST_CASE("balancing by biases: what is balanced stays, also where the mean is no whole number") {
  const Part part("bias-balanced", config_of("bias-balanced"), 3);
  const Buffer& bias = part.parameters.buffer("ff.expert_bias");
  const auto after = [&](const Values& load) {
    fill(bias.value, 0);
    part.parameters.update_buffers(std::vector{Observation{&bias, Tensor::from_values({3}, load)}},
                                   Tensor::full({}, 1, DType::float64));
    return bias.value.values();
  };
  CHECK(after({7, 7, 7}) == Values{0, 0, 0});
  CHECK(after({0, 0, 0}) == Values{0, 0, 0});
  CHECK(after({8, 7, 6}) == Values{-1e-3, 0, 1e-3});
  CHECK(after({5, 5, 6}) == Values{1e-3, 1e-3, -1e-3});
}

TEST_CASE("expert choice: statistics count every pair, by token") {
  const Layer layer(config_of("expert-choice"), {});
  const Tensor x = random_tensor({2, N / 2, D}, 3);
  const ForwardContext analyse{.training = true, .seed = 4, .step = 3, .collect_statistics = true, .analyse = true};
  const Weights w = layer.weights(x);
  const Pairs pairs = experts_choose(logits_of(w));
  const Values gate = sigmoid_of(logits_of(w));
  std::vector<std::int64_t> both(E * E);
  Values gates(E), active(N);
  for (const auto& [n, e] : pairs) {
    gates[e] += gate[n * E + e];
    for (const auto& [m, f] : pairs) both[e * E + f] += n == m;
    for (std::size_t g = 0; g < G; ++g) {
      double h = 0;
      for (std::size_t d = 0; d < D; ++d) h += w.x[n * D + d] * w.w1[(e * D + d) * G + g];
      active[n] += h > 0;
    }
  }
  for (const Device device : available_devices()) {
    const Layer there(config_of("expert-choice"), device);
    const FeedforwardStatistics counted = there.moe(to_device(x, device), analyse).statistics;
    CHECK(counted.expert_counts == std::vector<std::int64_t>(E, C));
    CHECK(expert_usage(counted.expert_counts).dead == 0);
    CHECK(counted.pair_counts == both);
    CHECK(largest_difference(counted.gate_sums, gates) < 1e-12);
    CHECK(counted.active.tokens == static_cast<std::int64_t>(N));
    CHECK(counted.active.channels == static_cast<std::int64_t>(K * G));
    CHECK(counted.active.sum == doctest::Approx(std::accumulate(active.begin(), active.end(), 0.0)));
  }
}

TEST_CASE("expert choice: the regularisers of a shared layer are those of all its uses") {
  FeedforwardConfig config = config_of("expert-choice", "softmax");
  for (const char* name : {"importance", "switch", "entropy", "entropy-sequence"}) {
    CAPTURE(name);
    config.regulariser = name, config.regulariser_weight = 1;
    ParameterSet parameters;
    const Router router(parameters, "ff", 0, D, config, initialise::normal(1));
    parameters.allocate(DType::float64, 5);
    const Routed first = router(random_tensor({N, D}, 3), 2, kTraining),
                 second = router(random_tensor({N, D}, 4), 2, kTraining);
    const Routed back = Routed::from_sequences(first.by_sequence());
    CHECK(back.sequences == 2);
    check_same_bits({back.logits, back.index, back.gate}, {first.logits, first.index, first.gate});
    const std::vector<RegulariserInputs> twice{first.by_sequence(), first.by_sequence()},
        both{first.by_sequence(), second.by_sequence()};
    const double alone = router.auxiliary_loss(first).item();
    CHECK(router.auxiliary_loss(Routed::from_sequences(join_calls(twice))).item() == doctest::Approx(alone));
    const double joined = router.auxiliary_loss(Routed::from_sequences(join_calls(both))).item();
    CHECK((joined != doctest::Approx(alone)) == (std::string(name) != "switch"));  // which even use makes constant
  }
}

TEST_CASE("expert choice: what compares the experts of a token is refused") {
  const auto refused = [](const FeedforwardConfig& config) {
    return error_message([&] {
      ParameterSet parameters;
      make_feedforward(parameters, "ff", 0, {.d_model = D}, config);
    });
  };
  FeedforwardConfig config = config_of("expert-choice");
  CHECK(refused(config) == "");
  config.hidden_k = 3;
  CHECK(refused(config).starts_with("feedforward.hidden_k = 3 compares the experts of a token"));
  CHECK(refused(config_of("expert-choice", "softmax-after-topk")).starts_with("feedforward.gate = \"softmax-after"));
  config = config_of("expert-choice");
  config.regulariser = "entropy-selected";
  CHECK(refused(config).starts_with("feedforward.regulariser = \"entropy-selected\" compares"));
}
