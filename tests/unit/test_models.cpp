// The Transformer-XL and its feedforwards: parameters, initial values, memory, dropout, precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "autograd/autograd.h"
#include "autograd/grad_check.h"
#include "models/initialise.h"
#include "models/model_cost.h"
#include "models/regulariser.h"
#include "models/transformer_xl.h"
#include "ops/add.h"
#include "ops/cross_entropy.h"
#include "ops/dropout.h"
#include "ops/support/samples.h"
#include "tensor_checks.h"

using namespace weir;

namespace {

ModelConfig small_model(std::int64_t layers = 2) {
  return {.vocabulary = 11, .d_model = 12, .layers = layers, .heads = 2, .head_size = 5, .segment = 6};
}

FeedforwardConfig dense(std::int64_t d_ff) { return {.kind = "dense", .d_ff = d_ff}; }
FeedforwardConfig sigma_moe(std::int64_t experts, std::int64_t expert_size, std::int64_t k) {
  return {.kind = "moe", .experts = experts, .expert_size = expert_size, .k = k};
}

FeedforwardConfig top_k_of(std::int64_t d_ff, std::int64_t k) { return {.kind = "top-k", .d_ff = d_ff, .k = k}; }
FeedforwardConfig product_keys(std::int64_t sub_keys, std::int64_t heads, std::int64_t k) {
  return {.kind = "pkm", .k = k, .sub_keys = sub_keys, .key_heads = heads};
}

std::int64_t count(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  return TransformerXl(model, feedforward).parameters().count();
}

double std_of(const std::vector<double>& values) {
  const double n = static_cast<double>(values.size()), mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double sum = 0;
  for (double v : values) sum += (v - mean) * (v - mean);
  return std::sqrt(sum / n);
}

double largest(const std::vector<double>& values) {
  double result = 0;
  for (double v : values) result = std::max(result, std::abs(v));
  return result;
}

// Loss and gradients of one training pass.
struct Pass {
  double loss;
  Tensor logits, gradients;
};
Pass pass(const TransformerXl& model, const ForwardContext& context) {
  model.parameters().zero_gradients();
  const std::int64_t vocabulary = model.config().vocabulary;
  const LanguageModelOutput out =
      model(random_indices({3, 6}, 5, vocabulary), {}, model.config().memory_length(), context);
  const Tensor loss = cross_entropy(out.logits, random_indices({3, 6}, 6, vocabulary));
  backward(out.auxiliary_loss.defined() ? loss + out.auxiliary_loss : loss);
  return {loss.item(), out.logits.detach(), clone(model.parameters().gradients())};
}

}  // namespace

TEST_CASE("models: parameter names and shapes") {
  const TransformerXl model(small_model(1), sigma_moe(4, 8, 2));
  std::map<std::string, std::string> shapes;
  for (const Parameter& p : model.parameters().parameters()) shapes[p.name] = p.shape.str();
  const std::map<std::string, std::string> expected = {
      {"embedding", "[11, 12]"},        {"layer0.norm1.weight", "[12]"}, {"layer0.norm1.bias", "[12]"},
      {"layer0.norm2.weight", "[12]"},  {"layer0.norm2.bias", "[12]"},   {"layer0.attn.w_q", "[10, 12]"},
      {"layer0.attn.w_kv", "[20, 12]"}, {"layer0.attn.w_r", "[10, 12]"}, {"layer0.attn.w_o", "[12, 10]"},
      {"layer0.attn.u", "[2, 5]"},      {"layer0.attn.v", "[2, 5]"},     {"layer0.attn.scale", "[1]"},
      {"layer0.ff.router", "[4, 12]"},  {"layer0.ff.w1", "[4, 12, 8]"},  {"layer0.ff.w2", "[4, 8, 12]"},
      {"out_norm.weight", "[12]"},      {"out_norm.bias", "[12]"},       {"output.weight", "[11, 12]"},
      {"output.bias", "[11]"},
  };
  CHECK(shapes == expected);
  const TransformerXl other(small_model(1), dense(7));
  CHECK(other.parameters().at("layer0.ff.w1").shape == Shape{7, 12});
  CHECK(other.parameters().at("layer0.ff.w2").shape == Shape{12, 7});
  CHECK(other.parameters().at("layer0.ff.b1").shape == Shape{7});
  CHECK(other.parameters().at("layer0.ff.b2").shape == Shape{12});
  CHECK(error_message([&] { other.parameters().at("layer9.ff.w1"); }).find("layer9.ff.w1") != std::string::npos);
}

TEST_CASE("models: parameter counts of the paper") {
  // The authors' code counts a scalar per layer that nothing uses.
  const ModelConfig enwik8{.vocabulary = 256, .d_model = 512, .layers = 12, .heads = 8, .head_size = 64};
  CHECK(count(enwik8, dense(2053)) == 41286996 - 12);
  CHECK(count(enwik8, sigma_moe(16, 128, 4)) == 41293080 - 12);
  const ModelConfig wikitext{.vocabulary = 8000, .d_model = 412, .layers = 16, .heads = 10, .head_size = 41};
  CHECK(count(wikitext, dense(2053)) == 47260136 - 16);
  CHECK(count(wikitext, sigma_moe(16, 128, 4)) == 47260248 - 16);
  CHECK(count(wikitext, sigma_moe(128, 128, 4)) == 237004376 - 16);
  CHECK(count(wikitext, top_k_of(2053, 128)) == 47260136 - 16);
  CHECK(count(wikitext, product_keys(46, 4, 128)) == 35315544 - 16);
  CHECK(count(wikitext, product_keys(62, 4, 128)) == 47128408 - 16);
  for (const FeedforwardConfig& ff :
       {dense(2053), top_k_of(2053, 128), product_keys(62, 4, 128), sigma_moe(16, 128, 4)})
    CHECK(model_cost(enwik8, ff, 32).parameters == count(enwik8, ff));
}

TEST_CASE("models: what no tensor can hold is too large, not wrong") {
  const ModelConfig wide{.vocabulary = 256, .d_model = 65536, .layers = 4, .heads = 4, .head_size = 32};
  const ModelCost experts = model_cost(wide, sigma_moe(65536, 65536, 4), 16);  // 2^48 elements in a matrix of experts
  CHECK(static_cast<double>(experts.weight_bytes) == 16.0 * static_cast<double>(experts.parameters));
  CHECK(experts.training_bytes > experts.weight_bytes);
  ModelConfig usual = wide;
  usual.d_model = 128, usual.segment = 1 << 20;
  CHECK(model_cost(usual, dense(256), 1 << 20).training_bytes == static_cast<std::int64_t>(9e18));
}

TEST_CASE("models: initial values of dense layers, attention, embedding and output") {
  const ModelConfig config{.vocabulary = 50, .d_model = 128, .layers = 3, .heads = 2, .head_size = 40};
  TransformerXl model(config, dense(300));
  model.initialise(7);
  const auto values = [&](const char* name) { return model.parameters().at(name).value.values(); };
  const std::map<const char*, double> fan_in = {{"layer0.attn.w_q", 128}, {"layer1.attn.w_kv", 128},
                                                {"layer2.attn.w_r", 128}, {"layer0.attn.w_o", 80},
                                                {"layer1.ff.w1", 128},    {"layer2.ff.w2", 300}};
  for (const auto& [name, inputs] : fan_in) {
    CAPTURE(name);
    const double std = std::sqrt(2.0 / (3 * inputs));
    CHECK(std_of(values(name)) == doctest::Approx(std).epsilon(1e-3));  // exact but for the mean's share
    CHECK(largest(values(name)) < 2.3 * std);
    CHECK(largest(values(name)) > 2.2 * std);
  }
  const double xavier = std::sqrt(6.0 / (50 + 128)), linear = 1 / std::sqrt(128.0);
  for (const auto& [name, bound] : std::map<const char*, double>{{"embedding", xavier}, {"output.weight", linear}}) {
    CAPTURE(name);
    CHECK(largest(values(name)) <= bound);
    CHECK(largest(values(name)) > 0.99 * bound);
    CHECK(std_of(values(name)) == doctest::Approx(bound / std::sqrt(3.0)).epsilon(0.03));
  }
  CHECK(largest(values("output.bias")) <= linear);
  CHECK(largest(values("output.bias")) > 0.5 * linear);
  for (const char* name : {"layer0.attn.u", "layer0.attn.v", "layer0.ff.b1", "layer0.ff.b2", "layer0.norm1.bias"})
    CHECK(largest(values(name)) == 0);
  CHECK(values("out_norm.weight") == std::vector<double>(128, 1.0));
  CHECK(values("layer0.attn.scale")[0] == doctest::Approx(1 / std::sqrt(40.0)));
}

TEST_CASE("models: initial values of experts and router") {
  const ModelConfig config{.vocabulary = 5, .d_model = 96, .layers = 2, .heads = 1, .head_size = 4};
  for (const std::string init : {"dense-equivalent", "standard"}) {
    FeedforwardConfig ff = sigma_moe(12, 32, 2);
    ff.init = init;
    TransformerXl model(config, ff);
    model.initialise(3);
    const auto values = [&](const char* name) { return model.parameters().at(name).value.values(); };
    const double fan_in = init == "standard" ? 32 : 12 * 32;
    CHECK(std_of(values("layer0.ff.w1")) == doctest::Approx(std::sqrt(2.0 / (2 * 96))).epsilon(0.02));
    CHECK(std_of(values("layer1.ff.w2")) == doctest::Approx(std::sqrt(2.0 / (2 * fan_in))).epsilon(0.02));
    CHECK(largest(values("layer0.ff.w1")) > 3 * std::sqrt(2.0 / (2 * 96)));  // not truncated
    const auto router = values("layer0.ff.router");
    CHECK(std_of(router) == doctest::Approx(std::sqrt(2.0 / (2 * 96))).epsilon(0.06));
    std::vector<double> lengths(12);
    for (std::size_t i = 0; i < router.size(); ++i) lengths[i / 96] += router[i] * router[i];
    for (double length : lengths) CHECK(length == doctest::Approx(lengths[0]).epsilon(1e-5));
  }
}

TEST_CASE("models: initial values of product keys") {
  const ModelConfig config{.vocabulary = 5, .d_model = 96, .layers = 2, .heads = 1, .head_size = 4};
  for (const std::string init : {"dense-equivalent", "standard"}) {
    FeedforwardConfig ff = product_keys(20, 3, 5);
    ff.init = init;
    TransformerXl model(config, ff);
    model.initialise(3);
    const auto values = [&](const char* name) { return model.parameters().at(name).value.values(); };
    const double keys = std::sqrt(2.0 / (2 * 96)), stored = init == "standard" ? keys : std::sqrt(2.0 / (2 * 400));
    CHECK(std_of(values("layer0.ff.keys_a")) == doctest::Approx(keys).epsilon(0.03));
    CHECK(std_of(values("layer1.ff.keys_b")) == doctest::Approx(keys).epsilon(0.03));
    CHECK(std_of(values("layer1.ff.values")) == doctest::Approx(stored).epsilon(0.02));
    CHECK(largest(values("layer1.ff.values")) > 3 * stored);  // not truncated
  }
}

TEST_CASE("models: initial values depend on name and seed, not on the order of declaration") {
  const auto values_of_b = [](std::vector<std::string> names, std::uint64_t seed) {
    ParameterSet set;
    for (const std::string& name : names) set.add(name, {3, 5}, initialise::normal(1));
    set.allocate(DType::float32, seed);
    return clone(set.at("b").value.detach());
  };
  const Tensor b = values_of_b({"a", "b"}, 1);
  CHECK(same_bits(b, values_of_b({"c", "b", "a"}, 1)));
  CHECK_FALSE(same_bits(b, values_of_b({"a", "b"}, 2)));
  ParameterSet set;
  set.add("a", {3, 5}, initialise::normal(1));
  set.add("b", {3, 5}, initialise::normal(1));
  set.allocate(DType::float32, 1);
  CHECK(same_bits(b, set.at("b").value));
  CHECK_FALSE(same_bits(b, set.at("a").value));
}

TEST_CASE("models: carried memory equals attention over the whole text") {
  constexpr std::int64_t kBatch = 2, kSegments = 3, T = 4;
  for (const FeedforwardConfig& ff :
       {dense(9), top_k_of(9, 3), product_keys(4, 2, 3), product_keys(4, 2, 4), sigma_moe(4, 8, 2)}) {
    for (std::int64_t length : {1, 3, 4, 5, 7, 8, 30}) {
      CAPTURE(length);
      TransformerXl model(small_model(1), ff);  // with more layers, memory reaches further back than attention
      model.initialise(9, DType::float64);
      const Tensor ids = random_indices({kBatch, kSegments * T}, 4, 11);
      Memory memory;
      LanguageModelOutput last;
      for (std::int64_t s = 0; s < kSegments; ++s) {
        last = model(slice_view(ids, 1, s * T, (s + 1) * T), memory, length, {});
        memory = last.memory;
        CHECK(memory.length() == std::min((s + 1) * T, length));
        CHECK_FALSE(requires_gradient(memory.layers[0]));
      }
      const std::int64_t first = std::max<std::int64_t>((kSegments - 1) * T - length, 0);
      const Tensor whole = model(slice_view(ids, 1, first, kSegments * T), {}, 0, {}).logits.detach();
      CHECK(max_difference(last.logits, slice_view(whole, 1, whole.size(1) - T, whole.size(1))) < 1e-10);
    }
  }
}

TEST_CASE("models: attention looks back only") {
  TransformerXl model(small_model(), dense(9));
  model.initialise(9, DType::float64);
  const Tensor ids = random_indices({1, 6}, 4, 11);
  const Tensor changed = clone(ids);
  changed.data<std::int64_t>()[4] = (changed.data<std::int64_t>()[4] + 1) % 11;
  const Tensor a = model(ids, {}, 0, {}).logits.detach(), b = model(changed, {}, 0, {}).logits.detach();
  CHECK(max_difference(slice_view(a, 1, 0, 4), slice_view(b, 1, 0, 4)) == 0);
  CHECK(max_difference(slice_view(a, 1, 4, 5), slice_view(b, 1, 4, 5)) > 1e-4);
  CHECK(max_difference(slice_view(a, 1, 5, 6), slice_view(b, 1, 5, 6)) > 1e-6);
}

TEST_CASE("models: gradients of the whole model against finite differences") {
  FeedforwardConfig softmax_some = product_keys(4, 2, 3), softmax_all = product_keys(4, 2, 4);
  softmax_some.activation = softmax_all.activation = "softmax";
  for (const FeedforwardConfig& ff : {dense(9), top_k_of(9, 3), product_keys(4, 2, 3), product_keys(4, 2, 4),
                                      softmax_some, softmax_all, sigma_moe(4, 8, 2)}) {
    ModelConfig config = small_model();
    config.dropout = 0.2;
    TransformerXl model(config, ff);
    model.initialise(13, DType::float64);
    const ForwardContext context{.training = true, .seed = 2, .step = 5};
    pass(model, context);  // fills the gradients
    const auto total_loss = [&] {
      const NoGradient guard;
      const auto out = model(random_indices({3, 6}, 5, 11), {}, 6, context);
      const double loss = cross_entropy(out.logits, random_indices({3, 6}, 6, 11)).item();
      return out.auxiliary_loss.defined() ? loss + out.auxiliary_loss.item() : loss;
    };
    for (const Parameter& p : model.parameters().parameters()) {
      CAPTURE(p.name);
      const Tensor kept = clone(p.value.detach()), direction = random_tensor(p.shape, 99);
      const auto values = kept.values(), along = direction.values(), slope = gradient(p.value).values();
      const auto moved = [&](double step) {
        std::vector<double> x = values;
        for (std::size_t i = 0; i < x.size(); ++i) x[i] += step * along[i];
        copy_into(Tensor::from_values(p.shape, x), p.value);
        return total_loss();
      };
      const double numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
      copy_into(kept, p.value);
      const double analytic = std::inner_product(along.begin(), along.end(), slope.begin(), 0.0);
      CHECK(std::abs(analytic - numeric) < 1e-6 * (1 + std::abs(numeric)));
    }
  }
}

TEST_CASE("models: dropout is a function of seed and step") {
  for (FeedforwardConfig ff : {dense(9), sigma_moe(4, 8, 2)}) {
    ff.dropout_experts = 0.2;
    ModelConfig config = small_model();
    config.dropout = 0.3;
    TransformerXl model(config, ff);
    model.initialise(9);
    const auto logits = [&](std::uint64_t seed, std::uint32_t step) {
      return pass(model, {.training = true, .seed = seed, .step = step}).logits;
    };
    const Tensor first = logits(1, 4);
    CHECK(same_bits(first, logits(1, 4)));
    CHECK(max_difference(first, logits(1, 5)) > 1e-3);
    CHECK(max_difference(first, logits(2, 4)) > 1e-3);
  }
}

TEST_CASE("models: evaluation ignores dropout and regularisers") {
  FeedforwardConfig ff = sigma_moe(4, 8, 2), plain_ff = ff;
  ff.expert_dropout = ff.dropout_experts = 0.4;
  plain_ff.regulariser = "none";
  ModelConfig config = small_model(), plain_config = config;
  config.dropout = 0.4;
  TransformerXl model(config, ff), plain(plain_config, plain_ff);
  model.initialise(9);
  plain.initialise(9);
  const Tensor ids = random_indices({2, 6}, 4, 11);
  const LanguageModelOutput out = model(ids, {}, 6, {}), expected = plain(ids, {}, 6, {});
  CHECK(same_bits(out.logits, expected.logits));
  CHECK_FALSE(out.auxiliary_loss.defined());
  const LanguageModelOutput training = model(ids, {}, 6, {.training = true});
  CHECK(training.auxiliary_loss.defined());
  CHECK(max_difference(training.logits, expected.logits) > 1e-3);
}

TEST_CASE("sigma-moe: dropped experts are not selected while others are left, and weigh nothing") {
  for (const char* gate : {"sigmoid", "softmax", "softmax-after-topk"}) {
    CAPTURE(gate);
    FeedforwardConfig ff = sigma_moe(4, 8, 2);
    ff.gate = gate;
    ff.expert_dropout = 0.5;
    TransformerXl model(small_model(1), ff);
    model.initialise(9);
    const Tensor x = converted(random_tensor({1, 1, 12}, 3), DType::float32);
    int avoided = 0, all_dropped = 0;
    for (std::uint32_t step = 0; step < 200; ++step) {
      const ForwardContext context{.training = true, .seed = 3, .step = step, .collect_statistics = true};
      const auto kept = keep_mask({1, 4}, 0.5, context.random(RandomPlace::expert_mask, 0), DType::float32).values();
      const FeedforwardOutput out = model.feedforward(0)(x, context);
      const auto& counts = out.statistics.expert_counts;
      CHECK(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) == 2);
      const auto survivors = std::count(kept.begin(), kept.end(), 1.0);
      if (survivors >= 2)
        for (std::size_t e = 0; e < 4; ++e) CHECK((kept[e] == 1 || counts[e] == 0));
      if (survivors == 0) CHECK(largest(out.y.values()) == 0);
      avoided += survivors == 2;
      all_dropped += survivors == 0;
    }
    CHECK(avoided > 40);
    CHECK(all_dropped > 3);
  }
}

TEST_CASE("sigma-moe: every gate against a plain computation") {
  constexpr std::size_t kTokens = 10, D = 12, E = 4, G = 8, K = 2;
  for (const std::string gate : {"sigmoid", "softmax", "softmax-after-topk"}) {
    CAPTURE(gate);
    FeedforwardConfig ff = sigma_moe(E, G, K);
    ff.gate = gate;
    TransformerXl model(small_model(1), ff);
    model.initialise(9, DType::float64);
    const auto router = model.parameters().at("layer0.ff.router").value.values();
    const auto w1 = model.parameters().at("layer0.ff.w1").value.values();
    const auto w2 = model.parameters().at("layer0.ff.w2").value.values();
    const Tensor input = random_tensor({2, 5, D}, 8);
    const auto x = input.values();
    std::vector<double> expected(kTokens * D);
    for (std::size_t n = 0; n < kTokens; ++n) {
      double logits[E] = {}, all = 0, chosen = 0;
      for (std::size_t e = 0; e < E; ++e) {
        for (std::size_t d = 0; d < D; ++d) logits[e] += x[n * D + d] * router[e * D + d];
        all += std::exp(logits[e]);
      }
      const auto rank = [&](std::size_t e) {
        return std::count_if(logits, logits + E, [&](double z) { return z > logits[e]; });
      };
      for (std::size_t e = 0; e < E; ++e) chosen += rank(e) < static_cast<std::ptrdiff_t>(K) ? std::exp(logits[e]) : 0;
      for (std::size_t e = 0; e < E; ++e) {
        if (rank(e) >= static_cast<std::ptrdiff_t>(K)) continue;
        const double weight = gate == "sigmoid"   ? 1 / (1 + std::exp(-logits[e]))
                              : gate == "softmax" ? std::exp(logits[e]) / all
                                                  : std::exp(logits[e]) / chosen;
        for (std::size_t g = 0; g < G; ++g) {
          double hidden = 0;
          for (std::size_t d = 0; d < D; ++d) hidden += x[n * D + d] * w1[(e * D + d) * G + g];
          for (std::size_t d = 0; d < D; ++d)
            expected[n * D + d] += weight * std::max(hidden, 0.0) * w2[(e * G + g) * D + d];
        }
      }
    }
    const Tensor y = model.feedforward(0)(input, {}).y;
    CHECK(max_difference(y, Tensor::from_values({2, 5, D}, expected)) < 1e-12);
  }
}

TEST_CASE("models: activation checkpointing changes no bit") {
  FeedforwardConfig moe = sigma_moe(4, 8, 2);
  moe.expert_dropout = 0.2;
  moe.regulariser_weight = 0.1;
  for (const FeedforwardConfig& ff : {dense(9), top_k_of(9, 3), product_keys(4, 2, 3), moe}) {
    ModelConfig config = small_model(3);
    config.dropout = 0.1;
    TransformerXl plain(config, ff);
    config.checkpoint_activations = true;
    TransformerXl checkpointed(config, ff);
    plain.initialise(9);
    checkpointed.initialise(9);
    const ForwardContext context{.training = true, .seed = 1, .step = 7};
    const Pass a = pass(plain, context), b = pass(checkpointed, context);
    CHECK(a.loss == b.loss);
    CHECK(same_bits(a.logits, b.logits));
    CHECK(same_bits(a.gradients, b.gradients));
    CHECK(largest(a.gradients.values()) > 1e-3);
  }
}

TEST_CASE("models: bf16 activations stay close to float32") {
  for (const FeedforwardConfig& ff : {dense(40), top_k_of(40, 30), product_keys(6, 2, 6), sigma_moe(4, 16, 2)}) {
    ModelConfig config = small_model(3);
    TransformerXl exact(config, ff);
    config.precision = "bf16";
    TransformerXl rounded(config, ff);
    exact.initialise(9);
    rounded.initialise(9);
    CHECK(rounded.activation_dtype() == DType::bf16);
    const Pass a = pass(exact, {.training = true}), b = pass(rounded, {.training = true});
    CHECK(b.logits.dtype() == DType::bf16);
    CHECK(max_difference(a.logits, b.logits) < 5e-2);
    CHECK(max_difference(a.logits, b.logits) > 1e-5);
    CHECK(rounded.parameters().gradients().dtype() == DType::float32);
  }
}

TEST_CASE("regularisers: values and gradients") {
  const Tensor logits = random_tensor({7, 5}, 3, -2, 2), index = random_indices({7, 2}, 4, 5, DType::int32);
  const auto z = logits.values(), chosen = index.values();
  std::vector<double> mean(5), share(5);
  for (std::size_t n = 0; n < 7; ++n) {
    double total = 0;
    for (std::size_t e = 0; e < 5; ++e) total += std::exp(z[n * 5 + e]);
    for (std::size_t e = 0; e < 5; ++e) mean[e] += std::exp(z[n * 5 + e]) / total / 7;
  }
  for (double e : chosen) share[static_cast<std::size_t>(e)] += 1.0 / 14;
  double entropy = 0, balance = 0;
  for (std::size_t e = 0; e < 5; ++e) {
    entropy += mean[e] * std::log(mean[e]);
    balance += share[e] * mean[e] / 5;
  }
  CHECK(entropy_regulariser(logits).item() == doctest::Approx(entropy).epsilon(1e-12));
  CHECK(switch_regulariser(logits, index).item() == doctest::Approx(balance).epsilon(1e-12));
  CHECK(entropy_regulariser(Tensor::zeros({7, 5}, DType::float64)).item() == doctest::Approx(-std::log(5.0)));
  const std::vector<Tensor> at{logits};
  CHECK(grad_check([](auto in) { return std::vector{entropy_regulariser(in[0])}; }, at) == "");
  CHECK(grad_check([&](auto in) { return std::vector{switch_regulariser(in[0], index)}; }, at) == "");
}

TEST_CASE("sigma-moe: the regulariser over selected scores, as in the authors' code") {
  constexpr std::size_t kTokens = 10, D = 12, E = 4;
  FeedforwardConfig ff = sigma_moe(E, 8, 2);
  ff.gate = "softmax-after-topk";
  ff.regulariser = "entropy-selected";
  ff.regulariser_weight = 0.5;
  TransformerXl model(small_model(1), ff);
  model.initialise(9, DType::float64);
  const auto router = model.parameters().at("layer0.ff.router").value.values();
  const Tensor input = random_tensor({2, 5, D}, 8);
  const auto x = input.values();
  double first = 0;  // the mean weight of the larger of a token's two scores
  for (std::size_t n = 0; n < kTokens; ++n) {
    std::vector<double> logits(E);
    for (std::size_t e = 0; e < E; ++e)
      for (std::size_t d = 0; d < D; ++d) logits[e] += x[n * D + d] * router[e * D + d];
    std::sort(logits.rbegin(), logits.rend());
    first += 1 / (1 + std::exp(logits[1] - logits[0])) / kTokens;
  }
  const double expected = 0.5 * (first * std::log(first) + (1 - first) * std::log(1 - first));
  const FeedforwardOutput out = model.feedforward(0)(input, {.training = true});
  CHECK(out.auxiliary_loss.item() == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("models: the auxiliary loss is the weighted sum over the layers") {
  const auto auxiliary = [](double weight, std::int64_t layers) {
    FeedforwardConfig ff = sigma_moe(4, 8, 2);
    ff.regulariser_weight = weight;
    TransformerXl model(small_model(layers), ff);
    model.initialise(9, DType::float64);
    return model(random_indices({3, 6}, 5, 11), {}, 6, {.training = true}).auxiliary_loss;
  };
  CHECK(auxiliary(0.1, 3).item() == doctest::Approx(10 * auxiliary(0.01, 3).item()).epsilon(1e-12));
  CHECK(auxiliary(0.1, 3).item() < -0.1 * 3 * 0.9 * std::log(4.0));  // near the least value, -ln 4 a layer
  CHECK(auxiliary(0.1, 3).item() >= -0.1 * 3 * std::log(4.0));
  CHECK_FALSE(auxiliary(0, 3).defined());
}
