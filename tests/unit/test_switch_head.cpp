// SwitchHead against plain loops, with one expert against dense attention, and its loss term, precision and cost.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "autograd/autograd.h"
#include "core/kernel_cost.h"
#include "core/parallel.h"
#include "models/attention.h"
#include "models/transformer_xl.h"
#include "ops/dropout.h"
#include "ops/linear.h"
#include "ops/multiply.h"
#include "ops/relative_attention.h"
#include "ops/reshape.h"
#include "ops/sigmoid.h"
#include "ops/slice.h"
#include "ops/sum.h"
#include "ops/support/samples.h"
#include "tensor_checks.h"

using namespace weir;

namespace {

using Values = std::vector<double>;

ModelConfig switch_head_model(std::int64_t experts, std::int64_t k) {
  return {.vocabulary = 11,
          .d_model = 12,
          .layers = 3,
          .attention = "switch-head",
          .heads = 3,
          .head_size = 5,
          .attention_experts = experts,
          .attention_k = k,
          .segment = 6};
}

// An attention with its parameters, as layer 2.
struct Bench {
  Bench(const ModelConfig& config, DType dtype, Device device = {})
      : attention(make_attention(parameters, "attn", 2, config)) {
    parameters.allocate(dtype, 7, device);
  }
  Tensor value(const std::string& name) const { return parameters.at("attn." + name).value; }
  ParameterSet parameters;
  std::unique_ptr<Attention> attention;
};

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

// The sum over c of x[at + c] w[row, c].
double product(const Values& x, std::size_t at, const Values& w, std::size_t row, std::size_t d) {
  return std::inner_product(x.begin() + static_cast<std::ptrdiff_t>(at),
                            x.begin() + static_cast<std::ptrdiff_t>(at + d),
                            w.begin() + static_cast<std::ptrdiff_t>(row * d), 0.0);
}

// The experts of one head of one position: the k best scores among those kept, then dropped ones.
std::vector<std::size_t> best(const Values& scores, const Values& kept, std::size_t k) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return kept[a] != kept[b] ? kept[a] > kept[b] : kept[a] > 0 && scores[a] > scores[b];
  });
  order.resize(k);
  return order;
}

struct Naive {
  const Bench& bench;
  std::size_t B, S, T, D, H, P, E, K;
  Values x, values, keep_v, keep_o;  // keep: 1 or 0 per position, head and expert

  // Adds, for each expert that head h of the row of x at `at` chooses, gate[e] * f(e).
  template <class F>
  void mix(const char* selector, std::size_t at, std::size_t h, const Values& keep, std::size_t keep_row, F f) const {
    const Values w = bench.value(selector).values();
    Values scores(E);
    for (std::size_t e = 0; e < E; ++e) scores[e] = product(x, at, w, h * E + e, D);
    const auto first = keep.begin() + static_cast<std::ptrdiff_t>((keep_row * H + h) * E);
    for (std::size_t e : best(scores, Values(first, first + static_cast<std::ptrdiff_t>(E)), K))
      f(e, sigmoid_of(scores[e]));
  }

  Values head_values(std::size_t b, std::size_t s, std::size_t h) const {
    const Values w = bench.value("w_v").values();
    Values v(P);
    mix("sel_v", (b * S + s) * D, h, keep_v, b * S + s, [&](std::size_t e, double gate) {
      for (std::size_t p = 0; p < P; ++p)
        for (std::size_t c = 0; c < D; ++c)
          v[p] += gate * values[(b * S + s) * D + c] * w[((h * E + e) * D + c) * P + p];
    });
    return v;
  }

  Values attended(std::size_t b, std::size_t t, std::size_t h) const {
    const Values w_q = bench.value("w_q").values(), w_k = bench.value("w_k").values(),
                 w_r = bench.value("w_r").values();
    const std::size_t own = S - T + t;
    Values weights(own + 1), out(P);
    for (std::size_t j = 0; j <= own; ++j) {
      Values r(D);
      for (std::size_t c = 0; c < D; ++c) {
        const double rho = static_cast<double>(j) - static_cast<double>(own);
        const double angle = rho * std::pow(10000.0, -static_cast<double>(c / 2 * 2) / static_cast<double>(D));
        r[c] = c % 2 == 0 ? std::sin(angle) : std::cos(angle);
      }
      double logit = 0;
      for (std::size_t p = 0; p < P; ++p)
        logit += product(x, (b * S + own) * D, w_q, h * P + p, D) *
                 (product(x, (b * S + j) * D, w_k, h * P + p, D) + product(r, 0, w_r, h * P + p, D));
      weights[j] = std::exp(logit / std::sqrt(static_cast<double>(P)));
    }
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (std::size_t j = 0; j <= own; ++j) {
      const Values v = head_values(b, j, h);
      for (std::size_t p = 0; p < P; ++p) out[p] += weights[j] / total * v[p];
    }
    return out;
  }

  Values operator()() const {
    const Values w = bench.value("w_o").values();
    Values y(B * T * D);
    for (std::size_t b = 0; b < B; ++b)
      for (std::size_t t = 0; t < T; ++t)
        for (std::size_t h = 0; h < H; ++h) {
          const Values a = attended(b, t, h);
          mix("sel_o", (b * S + S - T + t) * D, h, keep_o, b * T + t, [&](std::size_t e, double gate) {
            for (std::size_t p = 0; p < P; ++p)
              for (std::size_t c = 0; c < D; ++c)
                y[(b * T + t) * D + c] += gate * a[p] * w[((h * E + e) * P + p) * D + c];
          });
        }
    return y;
  }
};

Values keep_of(const Shape& shape, double dropout, const ForwardContext& context, RandomPlace place) {
  return keep_mask(shape, dropout, context.random(place, 2), DType::float64).values();
}

}  // namespace

TEST_CASE("switch-head: against plain loops, with memory, values of their own, expert dropout") {
  constexpr std::int64_t B = 2, S = 7, T = 4, E = 4;
  for (const std::int64_t k : {1, 2, 4})
    for (const double dropout : {0.0, 0.6}) {
      CAPTURE(k);
      CAPTURE(dropout);
      ModelConfig config = switch_head_model(E, k);
      config.attention_expert_dropout = dropout;
      const Bench bench(config, DType::float64);
      const ForwardContext context{.training = true, .seed = 4, .step = 9};
      const Tensor x = random_tensor({B, S, 12}, 1, -3, 3), values = random_tensor({B, S, 12}, 2);
      const Naive naive{bench,
                        B,
                        S,
                        T,
                        12,
                        3,
                        5,
                        E,
                        static_cast<std::size_t>(k),
                        x.values(),
                        values.values(),
                        keep_of({B, S, 3, E}, dropout, context, RandomPlace::attention_value_mask),
                        keep_of({B, T, 3, E}, dropout, context, RandomPlace::attention_output_mask)};
      const Tensor y = (*bench.attention)(x, values, T, context).y;
      CHECK(max_difference(y, Tensor::from_values({B, T, 12}, naive())) < 1e-12);
      const Tensor evaluated = (*bench.attention)(x, values, T, {}).y;
      // Without enough others a dropped expert is taken after all, with its gate as it is.
      CHECK((max_difference(y, evaluated) < 1e-12) == (dropout == 0 || k == E));
    }
}

TEST_CASE("switch-head: one expert is attention with a gate on the output of each head") {
  constexpr std::int64_t B = 2, S = 6, T = 5, H = 3, P = 5;
  const Bench bench(switch_head_model(1, 1), DType::float64);
  std::vector<std::string> names;
  for (const Parameter& p : bench.parameters.parameters()) names.push_back(p.name);
  CHECK(std::count(names.begin(), names.end(), "attn.sel_v") == 0);
  const Tensor x = random_tensor({B, S, 12}, 1), values = random_tensor({B, S, 12}, 2);
  const Tensor own = slice(x, 1, S - T, S), none = Tensor::zeros({H, P}, DType::float64);
  const Tensor k = linear(x, bench.value("w_k")).detach(), v = linear(values, bench.value("w_v")).detach();
  const Tensor kv = Tensor::empty({B, S, H, 2, P}, DType::float64);
  copy_into(reshaped(k, {B, S, H, 1, P}), slice_view(kv, 3, 0, 1));
  copy_into(reshaped(v, {B, S, H, 1, P}), slice_view(kv, 3, 1, 2));
  const Tensor attended =
      relative_attention_composed(reshape(linear(own, bench.value("w_q")), {B, T, H, P}), kv,
                                  reshape(linear(sinusoids(S, 12, DType::float64), bench.value("w_r")), {S, H, P}),
                                  none, none, Tensor::full({1}, 1 / std::sqrt(5.0), DType::float64));
  const Tensor gate = reshape(sigmoid(linear(own, bench.value("sel_o"))), {B, T, H, 1});
  const Tensor expected = linear(reshape(attended * gate, {B, T, H * P}), bench.value("w_o"));
  const AttentionOutput out = (*bench.attention)(x, values, T, {.training = true});
  CHECK(max_difference(out.y, expected) < 1e-12);
  CHECK_FALSE(out.auxiliary_loss.defined());
}

TEST_CASE("switch-head: the loss term is the entropy per sequence and head, of keys and of queries") {
  constexpr std::size_t B = 2, S = 5, T = 3, D = 12, H = 3, E = 4;
  ModelConfig config = switch_head_model(E, 2);
  config.attention_regulariser_weight = 0.25;
  const Bench bench(config, DType::float64);
  const Tensor x = random_tensor({B, S, D}, 1, -4, 4);
  const Values rows = x.values();
  double expected = 0;
  for (const auto& [name, first] : {std::pair{"sel_v", std::size_t{0}}, std::pair{"sel_o", S - T}}) {
    const Values w = bench.value(name).values();
    for (std::size_t b = 0; b < B; ++b)
      for (std::size_t h = 0; h < H; ++h) {
        Values mean(E);
        for (std::size_t s = first; s < S; ++s) {
          Values p(E);
          for (std::size_t e = 0; e < E; ++e) p[e] = std::exp(product(rows, (b * S + s) * D, w, h * E + e, D));
          const double total = std::accumulate(p.begin(), p.end(), 0.0);
          for (std::size_t e = 0; e < E; ++e) mean[e] += p[e] / total / static_cast<double>(S - first);
        }
        for (double m : mean) expected += 0.25 * m * std::log(m) / static_cast<double>(B * H);
      }
  }
  const AttentionOutput out = (*bench.attention)(x, x, T, {.training = true});
  CHECK(out.auxiliary_loss.item() == doctest::Approx(expected).epsilon(1e-12));
  CHECK(out.regulariser_inputs.empty());
  CHECK_FALSE((*bench.attention)(x, x, T, {}).auxiliary_loss.defined());
  // As one of several uses: nothing added, but everything handed over. Two equal calls have the mean of one.
  const AttentionOutput use = (*bench.attention)(x, x, T, {.training = true, .shared_layer = true});
  CHECK_FALSE(use.auxiliary_loss.defined());
  const std::vector<RegulariserInputs> calls(2, use.regulariser_inputs);
  CHECK(bench.attention->auxiliary_loss(join_calls(calls)).item() == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("switch-head: bf16 activations stay near float32") {
  for (const std::int64_t experts : {1, 4}) {
    const Bench bench(switch_head_model(experts, 1), DType::float32);
    const Tensor x = converted(random_tensor({2, 9, 12}, 1), DType::bf16);
    const Tensor exact = converted(x, DType::float32);
    const Tensor y = (*bench.attention)(x, x, 6, {}).y;
    CHECK(y.dtype() == DType::bf16);
    const Tensor expected = (*bench.attention)(exact, exact, 6, {}).y;
    CHECK(max_difference(expected, Tensor::zeros_like(expected)) > 0.05);
    CHECK(max_difference(converted(y.detach(), DType::float32), expected) < 0.01);
  }
}

TEST_CASE("switch-head: the same bits on any number of threads") {
  ModelConfig config = switch_head_model(5, 2);
  config.d_model = 48;
  config.attention_expert_dropout = 0.1;
  const int before = thread_count();
  const auto run = [&](int threads) {
    set_thread_count(threads);
    const Bench bench(config, DType::float32);
    const Tensor x = require_gradient(converted(random_tensor({3, 70, 48}, 1), DType::float32).detach());
    const AttentionOutput out = (*bench.attention)(x, x, 50, {.training = true});
    backward(std::vector{out.y, out.auxiliary_loss},
             std::vector{converted(random_tensor(out.y.shape(), 3), DType::float32),
                         Tensor::full(out.auxiliary_loss.shape(), 1, DType::float32)});
    return std::vector{out.y.detach(), gradient(x), clone(bench.parameters.gradients())};
  };
  const auto one = run(1), three = run(3);
  set_thread_count(before);
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(same_bits(one[i], three[i]));
}

TEST_CASE("switch-head: initial values") {
  ModelConfig config = switch_head_model(6, 2);
  config.d_model = 80;
  const Bench bench(config, DType::float64);
  const auto root_mean_square = [&](const char* name) {
    const Values v = bench.value(name).values();
    return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0) / static_cast<double>(v.size()));
  };
  for (const char* name : {"w_q", "w_k", "w_r", "w_v", "sel_v", "sel_o"}) {
    CAPTURE(name);
    CHECK(root_mean_square(name) == doctest::Approx(std::sqrt(2.0 / (3 * 80))).epsilon(0.06));
  }
  CHECK(root_mean_square("w_o") == doctest::Approx(std::sqrt(2.0 / (3 * 15))).epsilon(0.04));
  const Values selector = bench.value("sel_v").values();
  Values lengths(18);
  for (std::size_t i = 0; i < selector.size(); ++i) lengths[i / 80] += selector[i] * selector[i];
  for (double length : lengths) CHECK(length == doctest::Approx(lengths[0]));
}

TEST_CASE("switch-head: parameters and multiply-adds") {
  constexpr std::int64_t D = 12, H = 3, P = 5, E = 4, K = 2, B = 4, T = 6, S = 12;
  const ModelConfig config = switch_head_model(E, K);
  const Bench bench(config, DType::float32, {DeviceKind::meta}),
      dense(switch_head_model(1, 1), DType::float32, {DeviceKind::meta});
  CHECK(bench.parameters.count() == 3 * D * H * P + 2 * H * E * D * P + 2 * H * E * D);
  CHECK(bench.attention->idle_parameters() == 2 * H * (E - K) * D * P);
  CHECK(dense.parameters.count() == 5 * D * H * P + H * D);
  CHECK(dense.attention->idle_parameters() == 0);
  // Multiplications per query that attends to 9.5 keys: itself for q, output experts and their selector; two keys for
  // k, value experts and theirs; half a position; three products per score and channel.
  const auto per_query = [&](const Bench& of) {
    const Tensor x = Tensor::empty({B, S, D}, DType::float32, {DeviceKind::meta});
    const NoGradient guard;
    return cost_of([&] { (*of.attention)(x, x, T, {}); }).flops / (2 * B * T);
  };
  CHECK(per_query(bench) == D * H * P * (1 + K + 2 + 2 * K + 0.5) + H * E * D * (1 + 2) + 3 * H * P * 9.5);
  CHECK(per_query(dense) == D * H * P * (1 + 1 + 2 + 2 + 0.5) + H * D + 3 * H * P * 9.5);
}
