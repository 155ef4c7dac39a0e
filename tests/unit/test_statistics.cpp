// What feedforwards report of themselves, against plain counting from their parameters.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>

#include "models/dense.h"
#include "models/moe.h"
#include "models/transformer_xl.h"
#include "ops/support/samples.h"
#include "temporary_directory.h"
#include "train/evaluate.h"
#include "train/expert_metrics.h"

using namespace weir;

namespace {

using Matrix = std::vector<std::vector<double>>;

// Consecutive rows of `cols` values.
Matrix matrix(const std::vector<double>& values, std::size_t cols) {
  Matrix rows;
  for (std::size_t i = 0; i < values.size(); i += cols) rows.emplace_back(&values[i], &values[i] + cols);
  return rows;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

struct Moments {
  double mean, deviation;
};
Moments moments(const std::vector<double>& values) {
  double sum = 0, squares = 0;
  for (double v : values) sum += v;
  const double n = static_cast<double>(values.size()), mean = sum / n;
  for (double v : values) squares += (v - mean) * (v - mean);
  return {mean, std::sqrt(squares / n)};
}

constexpr ForwardContext kAnalyse{.collect_statistics = true, .analyse = true};

ModelConfig model_of(std::int64_t d) { return {.d_model = d, .layers = 1}; }

}  // namespace

TEST_CASE("statistics: active channels of a dense feedforward") {
  constexpr std::size_t d = 5, width = 13;
  ParameterSet parameters;
  const DenseFeedforward dense(parameters, "ff", 0, model_of(d), {.kind = "dense", .d_ff = width});
  parameters.allocate(DType::float64, 3);
  const Tensor x = random_tensor({3, 4, d}, 7);
  const Matrix w1 = matrix(parameters.parameters()[0].value.values(), d);
  std::vector<double> active;
  for (const auto& row : matrix(x.values(), d))
    active.push_back(
        static_cast<double>(std::count_if(w1.begin(), w1.end(), [&](auto& w) { return dot(w, row) > 0; })));

  const FeedforwardStatistics counted = dense(x, kAnalyse).statistics;
  CHECK(counted.active.channels == width);
  CHECK(counted.active.tokens == 12);
  CHECK(counted.active.mean() == doctest::Approx(moments(active).mean));
  CHECK(counted.active.deviation() == doctest::Approx(moments(active).deviation));
  CHECK(moments(active).deviation > 0);
  CHECK(counted.expert_counts.empty());
  CHECK(dense(x, {.collect_statistics = true}).statistics.active.channels == 0);
}

TEST_CASE("statistics: selections, gates, pairs and active channels of a mixture") {
  constexpr std::size_t d = 6, experts = 5, size = 7, k = 3, tokens = 12;
  ParameterSet parameters;
  const Moe moe(parameters, "ff", 0, model_of(d), {.experts = experts, .expert_size = size, .k = k});
  parameters.allocate(DType::float64, 3);
  const Tensor x = random_tensor({3, 4, d}, 8);
  std::map<std::string, std::vector<double>> values;
  for (const Parameter& p : parameters.parameters()) values[p.name] = p.value.values();
  const Matrix router = matrix(values["ff.router"], d);

  std::vector<std::int64_t> counts(experts), pairs(experts * experts);
  std::vector<double> gates(experts), active, all_gates;
  for (const auto& row : matrix(x.values(), d)) {
    std::vector<std::size_t> order(experts);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return dot(router[a], row) > dot(router[b], row); });
    double units = 0;
    for (std::size_t a = 0; a < k; ++a) {
      const double gate = 1 / (1 + std::exp(-dot(router[order[a]], row)));
      ++counts[order[a]];
      gates[order[a]] += gate;
      all_gates.push_back(gate);
      for (std::size_t b = 0; b < k; ++b) ++pairs[order[a] * experts + order[b]];
      for (std::size_t unit = 0; unit < size; ++unit) {
        double h = 0;
        for (std::size_t i = 0; i < d; ++i) h += row[i] * values["ff.w1"][(order[a] * d + i) * size + unit];
        units += h > 0;
      }
    }
    active.push_back(units);
  }

  const FeedforwardStatistics counted = moe(x, kAnalyse).statistics;
  CHECK(counted.expert_counts == counts);
  CHECK(counted.pair_counts == pairs);
  for (std::size_t e = 0; e < experts; ++e) CHECK(counted.gate_sums[e] == doctest::Approx(gates[e]));
  CHECK(counted.smallest_gate == doctest::Approx(*std::min_element(all_gates.begin(), all_gates.end())));
  CHECK(counted.largest_gate == doctest::Approx(*std::max_element(all_gates.begin(), all_gates.end())));
  CHECK(counted.active.channels == k * size);
  CHECK(counted.active.tokens == tokens);
  CHECK(counted.active.mean() == doctest::Approx(moments(active).mean));
  CHECK(counted.active.deviation() == doctest::Approx(moments(active).deviation));

  const FeedforwardStatistics usual = moe(x, {.collect_statistics = true}).statistics;
  CHECK(usual.expert_counts == counts);
  CHECK(usual.pair_counts.empty());
  CHECK(usual.active.channels == 0);
  CHECK(moe(x, {}).statistics.expert_counts.empty());
}

TEST_CASE("statistics: counted in two parts is counted in one go") {
  constexpr std::size_t d = 6;
  ParameterSet parameters;
  const Moe moe(parameters, "ff", 0, model_of(d), {.experts = 4, .expert_size = 3, .k = 2});
  parameters.allocate(DType::float64, 3);
  const Tensor x = random_tensor({5, 4, d}, 8);
  const FeedforwardStatistics whole = moe(x, kAnalyse).statistics;
  FeedforwardStatistics sum;
  for (const auto& [begin, end] : {std::pair(0, 2), std::pair(2, 5)})
    sum.add(moe(clone(slice_view(x, 0, begin, end)), kAnalyse).statistics);
  CHECK(sum.expert_counts == whole.expert_counts);
  CHECK(sum.pair_counts == whole.pair_counts);
  CHECK(sum.smallest_gate == whole.smallest_gate);
  CHECK(sum.largest_gate == whole.largest_gate);
  for (std::size_t e = 0; e < 4; ++e) CHECK(sum.gate_sums[e] == doctest::Approx(whole.gate_sums[e]));
  CHECK(sum.active.tokens == whole.active.tokens);
  CHECK(sum.active.channels == whole.active.channels);
  CHECK(sum.active.sum == whole.active.sum);
  CHECK(sum.active.sum_squares == whole.active.sum_squares);
}

TEST_CASE("statistics: an evaluation counts every token and measures the same") {
  const TemporaryDirectory folder;
  std::string text(700, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * i % 31);
  std::ofstream(folder / "text", std::ios::binary) << text;
  const Corpus corpus = Corpus::text(folder / "text");
  for (const std::string kind : {"moe", "dense"}) {
    CAPTURE(kind);
    TransformerXl model({.d_model = 8, .layers = 3, .heads = 1, .head_size = 4, .segment = 16},
                        {.kind = kind, .d_ff = 9, .experts = 4, .expert_size = 5, .k = 2});
    model.initialise(4);
    const EvalConfig config{.batch_size = 2, .max_tokens = 320};
    std::vector<FeedforwardStatistics> layers;
    const Evaluation counted = evaluate(model, corpus, config, &layers);
    CHECK(counted.nats_per_token == evaluate(model, corpus, config).nats_per_token);
    REQUIRE(layers.size() == 3);
    for (const FeedforwardStatistics& layer : layers) {
      CHECK(layer.active.tokens == counted.tokens);
      CHECK(layer.active.channels == (kind == "moe" ? 10 : 9));
      const std::int64_t selections =
          std::accumulate(layer.expert_counts.begin(), layer.expert_counts.end(), std::int64_t{0});
      CHECK(selections == (kind == "moe" ? 2 * counted.tokens : 0));
    }
  }
}

TEST_CASE("expert metrics: utilisation is load over fair share") {
  const ExpertUsage usage = expert_usage(std::vector<std::int64_t>{6, 0, 2, 0});
  CHECK(usage.utilisation_max == 3);
  CHECK(usage.utilisation_min == 0);
  CHECK(usage.dead == 2);
  CHECK(usage.entropy == doctest::Approx(-(0.75 * std::log(0.75) + 0.25 * std::log(0.25)) / std::log(4)));
  CHECK(expert_usage(std::vector<std::int64_t>{3, 3, 3}).entropy == doctest::Approx(1));
  CHECK(expert_usage(std::vector<std::int64_t>{5}).entropy == 1);
  const ExpertUsage none = expert_usage(std::vector<std::int64_t>{0, 0});
  CHECK(none.utilisation_max == 0);
  CHECK(none.dead == 2);
}

TEST_CASE("expert metrics: over the layers that have experts, and no more than eight of their own") {
  std::vector<Metric> metrics;
  append_expert_metrics(metrics, std::vector<FeedforwardStatistics>(3));
  CHECK(metrics.empty());

  std::vector<FeedforwardStatistics> layers(12);
  for (FeedforwardStatistics& layer : layers) {
    layer.expert_counts = {4, 4};
    layer.smallest_gate = 0.25;
    layer.largest_gate = 0.5;
  }
  layers[1] = {};
  layers[2].expert_counts = {8, 0};
  layers[3].largest_gate = 0.75;
  layers[4].smallest_gate = 0.125;
  append_expert_metrics(metrics, layers);
  std::map<std::string, double> named;
  for (const Metric& metric : metrics) named[metric.name] = metric.value;
  CHECK(named.size() == metrics.size());
  CHECK(metrics.size() == 7 + 7);
  CHECK(named["experts/usage_entropy"] == doctest::Approx(10.0 / 11));
  CHECK(named["experts/dead"] == 1);
  CHECK(named["experts/active"] == doctest::Approx(21.0 / 22));
  CHECK(named["experts/utilisation_min"] == 0);
  CHECK(named["experts/utilisation_max"] == 2);
  CHECK(named["experts/gate_min"] == 0.125);
  CHECK(named["experts/gate_max"] == 0.75);
  CHECK(named.count("experts/usage_entropy/layer7") == 1);
  CHECK(named.count("experts/usage_entropy/layer8") == 0);
}
