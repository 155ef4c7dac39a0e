// Layers that share parameters, and the peri layer norm: the model of MoEUT. Also what a wrong configuration says.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "autograd/autograd.h"
#include "core/file.h"
#include "core/parallel.h"
#include "models/model_cost.h"
#include "models/transformer_xl.h"
#include "ops/add.h"
#include "ops/cross_entropy.h"
#include "ops/layer_norm.h"
#include "ops/support/samples.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/generate.h"
#include "train/optimizer/adamw.h"
#include "train/trainer.h"
#include "train/training_step.h"

using namespace weir;

namespace {

// Four layers of two groups, everything on.
ModelConfig moeut_model() {
  return {.vocabulary = 11,
          .d_model = 12,
          .layers = 4,
          .layer_group = 2,
          .norm = "peri",
          .attention = "switch-head",
          .heads = 2,
          .head_size = 5,
          .attention_experts = 3,
          .attention_k = 2,
          .attention_expert_dropout = 0.2,
          .dropout = 0.2,
          .segment = 6};
}

FeedforwardConfig moeut_feedforward() {
  return {.kind = "moe", .experts = 5, .expert_size = 7, .k = 2, .expert_dropout = 0.2, .regulariser_weight = 0.5};
}

Tensor ids() { return random_indices({3, 6}, 5, 11); }

// One training pass with a memory of random rows.
struct Pass {
  LanguageModelOutput out;
  double loss;
};
Pass pass(const TransformerXl& model) {
  const ForwardContext context{.training = true, .seed = 2, .step = 5, .collect_statistics = true};
  Memory memory;
  for (std::uint64_t layer = 0; layer < 4; ++layer) memory.layers.push_back(random_tensor({3, 4, 12}, 20 + layer));
  model.parameters().zero_gradients();
  LanguageModelOutput out = model(ids(), memory, 4, context);
  const Tensor loss = cross_entropy(out.logits, random_indices({3, 6}, 6, 11));
  const Tensor total = out.auxiliary_loss.defined() ? loss + out.auxiliary_loss : loss;
  backward(total);
  return {std::move(out), total.item()};
}

// "layer3.ff.w1" -> "layer1.ff.w1" in a group of two.
std::string shared_name(const std::string& name) {
  if (!name.starts_with("layer")) return name;
  return "layer" + std::to_string((name[5] - '0') % 2) + name.substr(6);
}

}  // namespace

TEST_CASE("shared layers: the same as layers of equal weights, with the sum of their gradients") {
  ModelConfig config = moeut_model();
  FeedforwardConfig feedforward = moeut_feedforward();
  feedforward.regulariser = "none";
  config.attention_regulariser_weight = 0;
  for (const bool checkpointed : {false, true}) {
    CAPTURE(checkpointed);
    config.checkpoint_activations = checkpointed;
    ModelConfig separate_config = config;
    separate_config.layer_group = 0;
    TransformerXl shared(config, feedforward), separate(separate_config, feedforward);
    shared.initialise(3, DType::float64);
    separate.initialise(3, DType::float64);
    for (const Parameter& p : separate.parameters().parameters())
      copy_into(shared.parameters().at(shared_name(p.name)).value, p.value);
    const Pass a = pass(shared), b = pass(separate);
    CHECK(same_bits(a.out.logits, b.out.logits));
    CHECK(a.out.memory.layers.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(same_bits(a.out.memory.layers[i], b.out.memory.layers[i]));
      CHECK(a.out.statistics[i].expert_counts == b.out.statistics[i].expert_counts);
    }
    for (const Parameter& p : shared.parameters().parameters()) {
      CAPTURE(p.name);
      std::vector<double> sum(static_cast<std::size_t>(p.shape.product()));
      for (const Parameter& q : separate.parameters().parameters())
        if (shared_name(q.name) == p.name) {
          const std::vector<double> arrived = gradient(q.value).values();
          for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += arrived[i];
        }
      CHECK(max_difference(gradient(p.value), Tensor::from_values(p.shape, sum)) < 1e-12);
    }
  }
}

TEST_CASE("shared layers: gradients against finite differences") {
  for (const char* regulariser : {"entropy", "entropy-sequence"}) {
    FeedforwardConfig feedforward = moeut_feedforward();
    feedforward.regulariser = regulariser;
    TransformerXl model(moeut_model(), feedforward);
    model.initialise(13, DType::float64);
    pass(model);
    const Tensor all = clone(model.parameters().gradients());
    for (const Parameter& p : model.parameters().parameters()) {
      CAPTURE(p.name);
      const Tensor kept = clone(p.value.detach()), direction = random_tensor(p.shape, 99);
      const auto values = kept.values(), along = direction.values();
      const auto gradient = model.parameters().view_in(all, p).values();
      const auto moved = [&](double step) {
        std::vector<double> x = values;
        for (std::size_t i = 0; i < x.size(); ++i) x[i] += step * along[i];
        copy_into(Tensor::from_values(p.shape, x), p.value);
        return pass(model).loss;
      };
      const double numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
      copy_into(kept, p.value);
      const double analytic = std::inner_product(along.begin(), along.end(), gradient.begin(), 0.0);
      CHECK(std::abs(analytic - numeric) < 1e-6 * (1 + std::abs(numeric)));
    }
  }
}

// Runs the layers of a peri model one by one, from the inputs that the model left as memory.
TEST_CASE("shared layers: the loss term is one entropy over all uses of a layer") {
  ModelConfig config = moeut_model();
  config.dropout = config.attention_expert_dropout = 0;
  FeedforwardConfig feedforward = moeut_feedforward();
  feedforward.expert_dropout = 0;
  for (const std::string regulariser : {"entropy", "entropy-sequence"}) {
    CAPTURE(regulariser);
    feedforward.regulariser = regulariser;
    TransformerXl model(config, feedforward);
    model.initialise(3, DType::float64);
    const NoGradient guard;
    const LanguageModelOutput out = model(ids(), {}, 6, {.training = true});
    const auto value = [&](const std::string& name) { return model.parameters().at(name).value; };
    const auto norm = [&](const Tensor& x, const std::string& name) {
      return layer_norm(x, value(name + ".weight"), value(name + ".bias"));
    };
    double expected = 0;
    for (const std::size_t distinct : {0, 1}) {
      const std::string name = "layer" + std::to_string(distinct);
      std::vector<RegulariserInputs> attention, experts;
      for (std::size_t i = distinct; i < 4; i += 2) {
        const Tensor x = out.memory.layers[i];
        const ForwardContext use{.training = true, .shared_layer = true};
        const AttentionOutput attended = model.attention(i)(norm(x, name + ".norm1"), x, 6, use);
        const Tensor middle = x + attended.y;
        const FeedforwardOutput y = model.feedforward(i).routed(middle, norm(middle, name + ".norm2"), use);
        CHECK_FALSE(y.auxiliary_loss.defined());
        attention.push_back(attended.regulariser_inputs);
        experts.push_back(y.regulariser_inputs);
      }
      expected += model.attention(distinct).auxiliary_loss(join_calls(attention)).item();
      // Softmax of the logits [3, 6, 5] of both uses.
      std::vector<std::vector<double>> sums(3, std::vector<double>(5));
      for (const RegulariserInputs& use : experts) {
        const std::vector<double> z = use[0].values();
        for (std::size_t row = 0; row < 18; ++row) {
          double total = 0;
          for (std::size_t e = 0; e < 5; ++e) total += std::exp(z[row * 5 + e]);
          for (std::size_t e = 0; e < 5; ++e) sums[row / 6][e] += std::exp(z[row * 5 + e]) / total;
        }
      }
      for (std::size_t e = 0; e < 5; ++e) {
        const double mean = (sums[0][e] + sums[1][e] + sums[2][e]) / 36;
        if (regulariser == "entropy") expected += 0.5 * mean * std::log(mean);
        for (const auto& sum : sums)
          if (regulariser == "entropy-sequence") expected += 0.5 / 3 * sum[e] / 12 * std::log(sum[e] / 12);
      }
    }
    CHECK(out.auxiliary_loss.item() == doctest::Approx(expected).epsilon(1e-12));
  }
}

TEST_CASE("shared layers: computing a layer again changes nothing") {
  ModelConfig config = moeut_model();
  TransformerXl kept(config, moeut_feedforward());
  config.checkpoint_activations = true;
  TransformerXl again(config, moeut_feedforward());
  kept.initialise(3);
  again.initialise(3);
  const auto run = [](const TransformerXl& model) {
    model.parameters().zero_gradients();
    const LanguageModelOutput out = model(ids(), {}, 4, {.training = true, .seed = 2, .step = 5});
    backward(cross_entropy(out.logits, random_indices({3, 6}, 6, 11)) + out.auxiliary_loss);
    return std::vector{out.logits.detach(), out.auxiliary_loss.detach(), clone(model.parameters().gradients())};
  };
  const auto a = run(kept), b = run(again);
  CHECK(same_bits(a[0], b[0]));
  CHECK(same_bits(a[1], b[1]));
  CHECK(max_difference(a[2], b[2]) < 1e-6);
}

TEST_CASE("shared layers: carried memory equals attention over the whole text") {
  ModelConfig config = moeut_model();
  config.layers = config.layer_group = 1;  // with more layers, memory reaches further back than attention
  TransformerXl model(config, moeut_feedforward());
  model.initialise(9, DType::float64);
  const Tensor text = random_indices({2, 12}, 4, 11);
  Memory memory;
  LanguageModelOutput last;
  for (std::int64_t s = 0; s < 3; ++s) {
    last = model(slice_view(text, 1, 4 * s, 4 * s + 4), memory, 5, {});
    memory = last.memory;
  }
  const Tensor whole = model(slice_view(text, 1, 3, 12), {}, 0, {}).logits.detach();
  CHECK(max_difference(last.logits, slice_view(whole, 1, 5, 9)) < 1e-10);
}

TEST_CASE("shared layers: parameters count once, arithmetic as often as it is done") {
  const ModelConfig config = moeut_model();
  ModelConfig separate = config, half = config;
  separate.layer_group = 0;
  half.layers = 2;
  const FeedforwardConfig ff = moeut_feedforward();
  const ModelCost shared = model_cost(config, ff, 3), four = model_cost(separate, ff, 3), two = model_cost(half, ff, 3);
  CHECK(shared.parameters == two.parameters);
  CHECK(shared.active_parameters == two.active_parameters);
  CHECK(four.parameters > shared.parameters);
  CHECK(shared.forward_flops_per_token == four.forward_flops_per_token);
  // The published size of MoEUT's 44M model; ours has biases in the head and Transformer-XL's position matrices.
  const ModelConfig moeut{.vocabulary = 8000,
                          .d_model = 412,
                          .layers = 16,
                          .layer_group = 2,
                          .norm = "peri",
                          .attention = "switch-head",
                          .heads = 4,
                          .head_size = 82,
                          .attention_experts = 8,
                          .segment = 1024,
                          .memory = 0};
  const FeedforwardConfig experts{.kind = "moe", .experts = 155, .expert_size = 128, .k = 12};
  const std::int64_t attention = 3 * 412 * 328 + 2 * 32 * 412 * 82 + 2 * 32 * 412;
  const std::int64_t layer = attention + 155 * (2 * 412 * 128 + 412) + 4 * 412;
  CHECK(model_cost(moeut, experts, 8).parameters == 2 * layer + 2 * 8000 * 412 + 8000 + 2 * 412);
}

TEST_CASE("shared layers: the estimate of training memory is near the measured peak") {
  for (const std::int64_t experts : {1, 4})
    for (const bool checkpointed : {false, true}) {
      CAPTURE(experts);
      CAPTURE(checkpointed);
      ModelConfig config = moeut_model();
      config.d_model = 96, config.head_size = 24, config.segment = 96, config.vocabulary = 64;
      config.attention_experts = experts, config.attention_k = std::min<std::int64_t>(experts, 2);
      config.checkpoint_activations = checkpointed;
      config.attention_expert_dropout = config.dropout = 0;
      FeedforwardConfig feedforward = moeut_feedforward();
      feedforward.experts = 8, feedforward.expert_size = 48, feedforward.expert_dropout = 0;
      Allocator& allocated = allocator({});
      const std::size_t before = allocated.statistics().in_use_bytes;
      TransformerXl model(config, feedforward);
      model.initialise(1);
      const AdamW optimizer(model.parameters(), {});
      Memory memory;
      for (int step = 0; step < 2; ++step) {
        allocated.reset_peak();
        LanguageModelOutput out = model(random_indices({8, 96}, 1, 64), memory, 96, {.training = true});
        backward(cross_entropy(out.logits, random_indices({8, 96}, 2, 64)) + out.auxiliary_loss);
        memory = std::move(out.memory);
      }
      const auto measured = static_cast<double>(allocated.statistics().peak_bytes - before);
      const auto estimate = static_cast<double>(model_cost(config, feedforward, 8).training_bytes);
      CAPTURE(measured);
      CAPTURE(estimate);
      CHECK(estimate / measured < 1.1);
      CHECK(estimate / measured > 0.85);
    }
}

TEST_CASE("shared layers: a run learns, in float32 and bf16, generates, and resumes bit for bit") {
  const int threads = thread_count();
  set_thread_count(1);
  const TemporaryDirectory folder;
  std::string text(6000, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = "the weir holds back. "[i % 21];
  std::ofstream(folder / "text", std::ios::binary) << text;
  for (const std::string precision : {"float32", "bf16"}) {
    CAPTURE(precision);
    Config config;
    config.model = moeut_model();
    config.model.vocabulary = 256, config.model.d_model = 16, config.model.segment = 8;
    config.model.dropout = config.model.attention_expert_dropout = 0.05;
    config.model.checkpoint_activations = precision == "bf16";
    config.model.precision = precision;
    config.feedforward = moeut_feedforward();
    config.feedforward.expert_dropout = 0.05, config.feedforward.regulariser_weight = 0.01;
    config.data.train = folder / "text";
    config.train = {.batch_size = 4, .accumulate = 2, .steps = 100};
    config.optimizer = {.lr = 1e-2, .clip = 1};
    config.eval.every = config.checkpoint.every = config.sample.every = 40;
    config.sample.tokens = 5;
    resolve(config);
    validate(config);
    const RunDirectory run(folder / ("run-" + precision)), interrupted(folder / ("interrupted-" + precision));
    const TrainingResult whole = train(config, run, {.quiet = true});
    CHECK(whole.validation.bits_per_byte() < 0.7);
    train(config, interrupted, {.quiet = true, .should_stop = [](std::int64_t steps) { return steps == 53; }});
    const TrainingResult rest = train(config, interrupted, {.resume = true, .quiet = true});
    const auto bytes = [](const std::string& path) { return read_file(path + "/model.safetensors", 1 << 24); };
    CHECK(bytes(rest.checkpoint) == bytes(whole.checkpoint));
  }
  set_thread_count(threads);
}

TEST_CASE("shared layers: settings that do not go together are refused") {
  const auto message = [](std::vector<std::string> overrides) {
    return error_message([&] { load_config("quickstart", overrides); });
  };
  CHECK(message({"model.layer_group=2"}).empty());
  CHECK(message({"model.layer_group=3"})
            .starts_with("model.layers = 4 (preset quickstart) is not a multiple of "
                         "model.layer_group = 3 (command line): the group is repeated as a whole"));
  CHECK(message({"model.layer_group=8"}).find("model.layer_group = 8") != std::string::npos);
  CHECK(message({"model.norm=peri"}).find("choose model.attention = \"switch-head\"") != std::string::npos);
  CHECK(message({"model.norm=peri", "model.attention=switch-head"}).empty());
  CHECK(message({"model.norm=peri", "model.attention=switch-head", "feedforward.kind=dense"})
            .find("feedforward.kind = \"dense\" (command line) has not") != std::string::npos);
  CHECK(message({"model.attention_k=5"}).empty());  // of no effect
  CHECK(message({"model.attention=switch-head", "model.attention_k=5"})
            .find("model.attention_k = 5 (command line) is more than model.attention_experts = 4") !=
        std::string::npos);
  // Also without a configuration file.
  ModelConfig odd = moeut_model();
  odd.layers = 3;
  CHECK_THROWS_AS(TransformerXl(odd, moeut_feedforward()), ArgumentError);
}
