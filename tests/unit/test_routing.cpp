// The parts of routers, each against a plain computation, and what they do together.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "autograd/autograd.h"
#include "autograd/grad_check.h"
#include "core/parallel.h"
#include "models/feedforward.h"
#include "models/initialise.h"
#include "models/regulariser.h"
#include "models/routing/router.h"
#include "ops/add.h"
#include "ops/balanced_assignment.h"
#include "ops/dropout.h"
#include "ops/multiply.h"
#include "ops/sum.h"
#include "ops/support/samples.h"
#include "tensor_checks.h"

using namespace weir;
using namespace weir::routing;

namespace {

constexpr ForwardContext kTraining{.training = true, .seed = 4, .step = 3};

FeedforwardConfig moe_config(std::int64_t experts, std::int64_t k) {
  return {
      .kind = "moe", .experts = experts, .expert_size = 5, .k = k, .regulariser = "none", .regulariser_weight = 0.3};
}

// The experts that a selection part chooses, [N, K] row by row.
std::vector<double> selected(const char* name, const Tensor& logits, std::int64_t sequences, std::int64_t k,
                             const ForwardContext& context = kTraining) {
  ParameterSet none;
  const auto choose = registry<Selection>().find(name)({none, "ff", {logits.size(1), 1}, {}, moe_config(2, k)});
  return choose({logits, {}}, {context, 0, sequences, k}).index.values();
}

std::vector<std::int64_t> loads(const std::vector<double>& index, std::size_t experts) {
  std::vector<std::int64_t> counts(experts);
  for (double e : index) ++counts[static_cast<std::size_t>(e)];
  return counts;
}

std::int64_t least(const std::vector<std::int64_t>& counts) { return *std::min_element(counts.begin(), counts.end()); }
std::int64_t most(const std::vector<std::int64_t>& counts) { return *std::max_element(counts.begin(), counts.end()); }

// Normal logits, wider by `bias` between experts than between tokens.
Tensor biased_logits(std::int64_t tokens, std::int64_t experts, double bias, double spread = 3) {
  const RandomStream own{1, 1, 1}, shared{1, 2, 1};
  std::vector<double> z(static_cast<std::size_t>(tokens * experts));
  for (std::size_t i = 0; i < z.size(); ++i)
    z[i] = spread * own.normal(i) + bias * shared.normal(i % static_cast<std::size_t>(experts));
  return Tensor::from_values({tokens, experts}, z);
}

double log_sum(const std::vector<double>& values) {
  double total = 0;
  for (double v : values) total += std::exp(v);
  return std::log(total);
}

// One MoE of width 6 with its parameters, in float64.
struct Layer {
  explicit Layer(const FeedforwardConfig& config, DType dtype = DType::float64) {
    feedforward = make_feedforward(parameters, "ff", 0, {.d_model = 6, .layers = 2}, config);
    parameters.allocate(dtype, 11);
  }
  ParameterSet parameters;
  std::unique_ptr<Feedforward> feedforward;
};

}  // namespace

TEST_CASE("routing: Sinkhorn against a plain computation, sequence by sequence") {
  constexpr std::size_t B = 2, T = 12, E = 5, K = 2;
  const Tensor logits = biased_logits(B * T, E, 2);
  const auto z = logits.values();
  for (const auto& [name, sign] : {std::pair{"sinkhorn", -1.0}, std::pair{"sinkhorn-textbook", 1.0}}) {
    CAPTURE(name);
    std::vector<double> expected;
    for (std::size_t b = 0; b < B; ++b) {
      const auto x = [&](std::size_t t, std::size_t e) { return z[(b * T + t) * E + e]; };
      std::vector<double> row(T), column(E);
      for (int iteration = 0; iteration < 3; ++iteration) {
        for (std::size_t t = 0; t < T; ++t) {
          std::vector<double> terms;
          for (std::size_t e = 0; e < E; ++e) terms.push_back(x(t, e) + sign * column[e]);
          row[t] = std::log(T) - log_sum(terms);
        }
        for (std::size_t e = 0; e < E; ++e) {
          std::vector<double> terms;
          for (std::size_t t = 0; t < T; ++t) terms.push_back(x(t, e) + sign * row[t]);
          column[e] = std::log(E) - log_sum(terms);
        }
      }
      for (std::size_t t = 0; t < T; ++t) {
        std::vector<std::size_t> order(E);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) {
          return std::exp(column[i] + row[t] + x(t, i)) > std::exp(column[j] + row[t] + x(t, j));
        });
        for (std::size_t k = 0; k < K; ++k) expected.push_back(static_cast<double>(order[k]));
      }
    }
    CHECK(selected(name, logits, B, K) == expected);
    CHECK(selected(name, logits, 1, K) != expected);  // the sequences matter
    CHECK(selected("top-k", logits, B, K) != expected);
    CHECK(selected(name, logits, B, K, {}) == selected("top-k", logits, B, K));  // evaluation
  }
}

TEST_CASE("routing: Sinkhorn balances, with the textbook's signs better than with the authors'") {
  const Tensor logits = biased_logits(256, 16, 2);  // 64 selections each would be even
  const auto plain = loads(selected("top-k", logits, 1, 4), 16),
             authors = loads(selected("sinkhorn", logits, 1, 4), 16),
             textbook = loads(selected("sinkhorn-textbook", logits, 1, 4), 16);
  CHECK(most(plain) > 130);
  CHECK(least(plain) < 16);
  CHECK(most(authors) < 120);
  CHECK(least(authors) < 16);
  CHECK(most(textbook) < 90);
  CHECK(least(textbook) > 40);
}

TEST_CASE("routing: expert dropout bars experts from balanced selections too") {
  FeedforwardConfig config = moe_config(4, 1);
  config.expert_dropout = 0.5;
  for (const char* selection : {"top-k", "sinkhorn", "sinkhorn-textbook"}) {
    config.selection = selection;
    ParameterSet parameters;
    const Router router(parameters, "ff", 0, 6, config, initialise::normal(1));
    parameters.allocate(DType::float64, 5);
    const Routed routed = router(random_tensor({200, 6}, 3), 4, kTraining);
    const auto mask = keep_mask({200, 4}, 0.5, kTraining.random(RandomPlace::expert_mask), DType::float64).values();
    const auto index = routed.index.values(), gate = routed.gate.values();
    int barred = 0;
    for (std::size_t n = 0; n < 200; ++n) {
      const bool any_left =
          std::any_of(mask.begin() + 4 * n, mask.begin() + 4 * n + 4, [](double m) { return m != 0; });
      const bool kept = mask[4 * n + static_cast<std::size_t>(index[n])] != 0;
      CHECK(kept == any_left);
      CHECK((gate[n] > 0) == any_left);
      barred += !any_left;
    }
    CHECK(barred > 3);
  }
}

TEST_CASE("routing: the assignment gives every expert its share and argmax in evaluation") {
  const Tensor logits = biased_logits(96, 6, 3);
  const auto counts = loads(selected("assignment", logits, 3, 1), 6);
  CHECK(least(counts) == 16);
  CHECK(most(counts) == 16);
  CHECK(selected("assignment", logits, 3, 1, {}) == selected("top-k", logits, 3, 1));
  CHECK(most(loads(selected("top-k", logits, 3, 1), 6)) > 18);
}

TEST_CASE("routing: prices prove that an assignment is the best") {
  const auto prove = [](const Tensor& scores) {
    const BalancedAssignment assignment = balanced_assignment(scores);
    const auto tokens = static_cast<std::size_t>(scores.size(0)), experts = static_cast<std::size_t>(scores.size(1));
    const auto s = scores.values(), expert = assignment.expert.values();
    auto price = assignment.price.values();
    const auto counts = loads(expert, experts);
    CHECK(least(counts) == static_cast<std::int64_t>(tokens / experts));
    CHECK(most(counts) == static_cast<std::int64_t>((tokens + experts - 1) / experts));
    double sum = 0, bound = 0;
    for (std::size_t t = 0; t < tokens; ++t) {
      double best = -INFINITY;
      for (std::size_t e = 0; e < experts; ++e) best = std::max(best, s[t * experts + e] - price[e]);
      bound += best;
      sum += s[t * experts + static_cast<std::size_t>(expert[t])];
    }
    std::sort(price.rbegin(), price.rend());
    for (std::size_t e = 0; e < experts; ++e)
      bound += static_cast<double>(tokens / experts + (e < tokens % experts)) * price[e];
    CHECK(sum == doctest::Approx(bound).epsilon(1e-10));
  };
  for (const auto& [tokens, experts] : {std::pair{300, 7}, {512, 16}, {130, 64}, {50, 64}, {999, 2}})
    for (double bias : {0.0, 2.0, 40.0}) prove(biased_logits(tokens, experts, bias, 1));
  prove(Tensor::zeros({100, 8}, DType::float64));                                  // all equal
  prove(biased_logits(101, 8, 1, 0));                                              // all tokens equal
  prove(converted(random_indices({240, 9}, 3, 3, DType::int32), DType::float64));  // many ties
}

TEST_CASE("routing: scores that are not numbers still give a balanced assignment") {
  auto z = biased_logits(64, 4, 1).values();
  for (std::size_t i = 0; i < z.size(); i += 5) z[i] = std::numeric_limits<double>::quiet_NaN();
  for (std::size_t i = 3; i < z.size(); i += 7) z[i] = i % 2 == 0 ? INFINITY : -INFINITY;
  const auto counts = loads(balanced_assignment(Tensor::from_values({64, 4}, z)).expert.values(), 4);
  CHECK(least(counts) == 16);
  const Tensor none = Tensor::full({9, 3}, std::numeric_limits<double>::quiet_NaN(), DType::float32);
  CHECK(least(loads(balanced_assignment(none).expert.values(), 3)) == 3);
}

TEST_CASE("routing: random experts are uniform, drawn again at every step and per slot") {
  const Tensor logits = Tensor::zeros({2000, 5}, DType::float32);
  const auto first = selected("random", logits, 1, 2);
  for (std::int64_t count : loads(first, 5)) CHECK(std::abs(count - 800) < 120);
  int twice = 0;
  for (std::size_t n = 0; n < 2000; ++n) twice += first[2 * n] == first[2 * n + 1];
  CHECK(std::abs(twice - 400) < 100);
  CHECK(first == selected("random", biased_logits(2000, 5, 3), 1, 2));
  CHECK(first != selected("random", logits, 1, 2, {.training = true, .seed = 4, .step = 4}));
  CHECK(first == selected("random", logits, 1, 2, {.training = false, .seed = 4, .step = 3}));
}

TEST_CASE("routing: noisy scores against a plain computation") {
  constexpr std::size_t N = 9, D = 6, E = 4;
  ParameterSet parameters;
  const auto scores =
      registry<Scores>().find("noisy")({parameters, "ff", {E, D}, initialise::normal(1), moe_config(E, 2)});
  parameters.allocate(DType::float64, 5);
  const Tensor x = random_tensor({N, D}, 6);
  const auto check = [&] {
    const auto in = x.values(), router = parameters.at("ff.router").value.values(),
               noise = parameters.at("ff.noise").value.values();
    const RandomStream random = kTraining.random(RandomPlace::router_noise, 2);
    std::vector<double> plain(N * E), noisy(N * E);
    for (std::size_t i = 0; i < N * E; ++i) {
      double size = 0;
      for (std::size_t d = 0; d < D; ++d) {
        plain[i] += in[i / E * D + d] * router[i % E * D + d];
        size += in[i / E * D + d] * noise[i % E * D + d];
      }
      noisy[i] = plain[i] + random.normal(i) * (size > 30 ? size : std::log1p(std::exp(size)));
    }
    CHECK(max_difference(scores(x, {kTraining, 2, 1, 1}), Tensor::from_values({N, E}, noisy)) < 1e-10);
    CHECK(max_difference(scores(x, {ForwardContext{}, 2, 1, 1}), Tensor::from_values({N, E}, plain)) < 1e-12);
  };
  CHECK(max_difference(parameters.at("ff.noise").value, Tensor::zeros({E, D}, DType::float64)) == 0);
  check();
  copy_into(random_tensor({E, D}, 7), parameters.at("ff.noise").value);
  check();
  copy_into(random_tensor({E, D}, 8, -400, 400), parameters.at("ff.noise").value);  // e^size would overflow
  check();
}

TEST_CASE("routing: regularisers of the summed gates and of the paper's Switch loss") {
  const Tensor gate = random_tensor({6, 2}, 3, 0, 1), index = random_indices({6, 2}, 4, 5, DType::int32);
  std::vector<double> load(5);
  for (std::size_t i = 0; i < 12; ++i) load[static_cast<std::size_t>(index.values()[i])] += gate.values()[i];
  const double mean = std::accumulate(load.begin(), load.end(), 0.0) / 5;
  double variance = 0;
  for (double l : load) variance += (l - mean) * (l - mean) / 5;
  CHECK(importance_regulariser(gate, index, 5).item() == doctest::Approx(std::sqrt(variance) / mean).epsilon(1e-9));
  CHECK(grad_check([&](auto in) { return std::vector{importance_regulariser(in[0], index, 5)}; }, std::vector{gate}) ==
        "");
  const Tensor even = require_gradient(Tensor::full({5, 1}, 0.5, DType::float64));
  const Tensor each = Tensor::from_values({5, 1}, std::vector<double>{0, 1, 2, 3, 4}, DType::int32);
  const Tensor balanced = importance_regulariser(even, each, 5);
  backward(balanced);
  CHECK(balanced.item() == doctest::Approx(1e-6));
  for (double g : gradient(even).values()) CHECK(std::abs(g) < 1e-9);

  const Tensor logits = random_tensor({6, 5}, 9);
  const Routed routed{logits, index, gate, 1};
  const auto value = [&](const char* name) { return registry<Regulariser>().find(name)(routed).item(); };
  CHECK(value("switch-paper") == doctest::Approx(25 * value("switch")).epsilon(1e-12));
  CHECK(value("switch") == doctest::Approx(switch_regulariser(logits, index).item()).epsilon(1e-12));
  CHECK_FALSE(registry<Regulariser>().find("none")(routed).defined());
}

TEST_CASE("routing: gates of one") {
  const Routed routed = [] {
    FeedforwardConfig config = moe_config(4, 2);
    config.gate = "one";
    ParameterSet parameters;
    const Router router(parameters, "ff", 0, 6, config, initialise::normal(1));
    parameters.allocate(DType::float64, 5);
    return router(random_tensor({7, 6}, 3), 1, kTraining);
  }();
  CHECK(routed.gate.values() == std::vector<double>(14, 1.0));
}

TEST_CASE("routing: gradients of every kind of router against finite differences") {
  struct Combination {
    const char *scores, *selection, *gate, *regulariser;
    std::int64_t k, hidden_k;
  };
  const Combination combinations[] = {
      {"noisy", "top-k", "softmax-after-topk", "importance", 2, 0},
      {"linear", "top-k", "softmax", "switch-paper", 2, 0},
      {"linear", "top-k", "sigmoid", "importance", 2, 3},
      {"linear", "sinkhorn", "sigmoid", "entropy", 2, 0},
      {"linear", "sinkhorn-textbook", "sigmoid", "switch", 1, 0},
      {"noisy", "assignment", "sigmoid", "entropy-selected", 1, 2},
      {"linear", "random", "sigmoid", "none", 3, 0},
      {"linear", "random", "one", "none", 2, 0},
      {"linear", "bias-balanced", "sigmoid", "none", 2, 3},
      {"noisy", "expert-choice", "softmax", "importance", 2, 0},
      {"linear", "expert-choice", "sigmoid", "switch", 1, 0},
  };
  for (const Combination& c : combinations) {
    CAPTURE(c.selection);
    CAPTURE(c.regulariser);
    FeedforwardConfig config = moe_config(4, c.k);
    config.scores = c.scores, config.selection = c.selection, config.gate = c.gate;
    config.regulariser = c.regulariser, config.hidden_k = c.hidden_k;
    config.dropout_experts = 0.2;
    const Layer layer(config);
    const Tensor x = require_gradient(random_tensor({2, 5, 6}, 3)), dy = random_tensor({2, 5, 6}, 4);
    for (const Parameter& p : layer.parameters.parameters())  // away from the zeros of the noise, and larger
      copy_into(random_tensor(p.shape, 20), p.value);
    const auto loss = [&] {
      const FeedforwardOutput out = (*layer.feedforward)(x, kTraining);
      return out.auxiliary_loss.defined() ? sum(out.y * dy) + out.auxiliary_loss : sum(out.y * dy);
    };
    backward(loss());
    const auto check = [&](const std::string& name, const Tensor& value, const Tensor& analytic_gradient) {
      CAPTURE(name);
      const Tensor kept = clone(value.detach()), along = random_tensor(value.shape(), 99);
      const auto values = kept.values(), direction = along.values(), slope = analytic_gradient.values();
      const auto moved = [&](double step) {
        std::vector<double> shifted = values;
        for (std::size_t i = 0; i < shifted.size(); ++i) shifted[i] += step * direction[i];
        copy_into(Tensor::from_values(value.shape(), shifted), value);
        const NoGradient guard;
        return loss().item();
      };
      const double numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
      copy_into(kept, value);
      const double analytic = std::inner_product(direction.begin(), direction.end(), slope.begin(), 0.0);
      CHECK(std::abs(analytic - numeric) < 1e-6 * (1 + std::abs(numeric)));
      const bool constant = std::string(c.gate) == "one" && name == "ff.router";
      CHECK((std::abs(analytic) > 1e-4) != constant);
    };
    check("x", x, gradient(x));
    for (const Parameter& p : layer.parameters.parameters()) check(p.name, p.value, gradient(p.value));
  }
}

TEST_CASE("routing: the same bits on any number of threads") {
  for (const char* selection :
       {"top-k", "sinkhorn", "sinkhorn-textbook", "assignment", "random", "bias-balanced", "expert-choice"}) {
    CAPTURE(selection);
    FeedforwardConfig config = moe_config(8, 1);
    config.selection = selection, config.scores = "noisy", config.regulariser = "importance";
    if (config.selection == "random") config.regulariser = "none";
    config.dropout_experts = 0.3, config.hidden_k = config.selection == "expert-choice" ? 0 : 3;
    const int threads = thread_count();
    const auto run = [&](int count) {
      set_thread_count(count);
      const Layer layer(config, DType::float32);
      const Tensor x = require_gradient(converted(random_tensor({4, 300, 6}, 3), DType::float32).detach());
      const FeedforwardOutput out = (*layer.feedforward)(x, kTraining);
      const Tensor loss = out.auxiliary_loss.defined() ? sum(out.y) + out.auxiliary_loss : sum(out.y);
      backward(loss);
      return std::vector{out.y.detach(), loss.detach(), gradient(x), clone(layer.parameters.gradients())};
    };
    const auto one = run(1), three = run(3);
    set_thread_count(threads);
    for (std::size_t i = 0; i < one.size(); ++i) CHECK(same_bits(one[i], three[i]));
  }
}

TEST_CASE("routing: initial values of the Switch Transformer") {
  FeedforwardConfig config = moe_config(12, 2);
  config.expert_size = 32, config.init = "switch";
  ParameterSet parameters;
  const auto moe = make_feedforward(parameters, "ff", 0, {.d_model = 96, .layers = 2}, config);
  parameters.allocate(DType::float32, 3);
  const auto deviation = [&](const char* name) {
    double squares = 0;
    const auto values = parameters.at(name).value.values();
    for (double v : values) squares += v * v;
    return std::sqrt(squares / static_cast<double>(values.size()));
  };
  CHECK(deviation("ff.w1") == doctest::Approx(std::sqrt(0.2 / (2 * 96))).epsilon(0.02));
  CHECK(deviation("ff.w2") == doctest::Approx(std::sqrt(0.2 / (2 * 32))).epsilon(0.02));
  CHECK(deviation("ff.router") == doctest::Approx(std::sqrt(0.2 / (2 * 96))).epsilon(0.06));
  const auto router = parameters.at("ff.router").value.values();
  const auto length = [&](std::size_t e) {
    return std::inner_product(router.begin() + 96 * e, router.begin() + 96 * e + 96, router.begin() + 96 * e, 0.0);
  };
  CHECK(std::abs(length(0) / length(1) - 1) > 1e-3);  // rows keep the lengths they were drawn with
  config.scores = "noisy";
  ParameterSet more;
  const auto noisy = make_feedforward(more, "ff", 0, {.d_model = 96, .layers = 2}, config);
  CHECK(more.count() == parameters.count() + 12 * 96);
}

TEST_CASE("routing: parts are found by name, and no name is taken twice") {
  CHECK(error_message([] { registry<Gate>().find("sigmod"); }) ==
        "feedforward.gate: there is no \"sigmod\"; did you mean sigmoid?; choose one of one, sigmoid, softmax, "
        "softmax-after-topk");
  CHECK(error_message([] {
          registry<Gate>().add({"one", "", nullptr});
        }).find("feedforward.gate: \"one\" is registered twice") != std::string::npos);
  const std::string help = registry<Scores>().help("about");
  CHECK(help.starts_with("about: linear (router times token), noisy ("));
}
