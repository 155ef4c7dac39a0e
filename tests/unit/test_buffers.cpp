// Buffers: state of a model that no gradient trains. What moves them on, when, and that a run which stops loses none.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/file.h"
#include "core/safetensors.h"
#include "corpus_of.h"
#include "models/initialise.h"
#include "models/relative_attention.h"
#include "models/transformer_xl.h"
#include "op_suite.h"
#include "ops/add.h"
#include "ops/mean.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/support/samples.h"
#include "step_run.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/trainer.h"
#include "train/training_step.h"

using namespace weir;
using namespace weir::tests;

namespace {

constexpr double kRate = 0.03;

// An attention that keeps the mean of its inputs over all passes: half of the old value and half of the new one.
class WatchingAttention final : public Attention {
 public:
  WatchingAttention(ParameterSet& parameters, const std::string& name, std::int64_t, const ModelConfig& model)
      : inner_(parameters, name, model),
        seen_(parameters.add_buffer(
            name + ".seen", {1}, initialise::constant(1),
            [](const Tensor& value, const Tensor& observed) { return scale(value + observed, 0.5); })) {}
  AttentionOutput operator()(const Tensor& x, const Tensor& values, std::int64_t queries,
                             const ForwardContext& context) const override {
    AttentionOutput out = inner_(x, values, queries, context);
    if (context.training) {
      const NoGradient guard;
      out.observations.push_back({&seen_, reshape(mean(converted(x.detach(), seen_.value.dtype())), {1})});
    }
    return out;
  }

 private:
  RelativeAttention inner_;
  const Buffer& seen_;
};

const bool added = registry<AttentionKind>().add(
    {"watching", "for a test: relative, and it keeps a mean", by_constructor<WatchingAttention>});

Config small_config() {
  Config config;
  config.model = {.vocabulary = 32, .d_model = 20, .layers = 2, .heads = 2, .head_size = 9, .segment = 8};
  config.model.dropout = 0.1;
  config.feedforward = {.kind = "moe", .experts = 5, .expert_size = 8, .k = 2, .selection = "bias-balanced"};
  config.feedforward.bias_update_rate = kRate;
  config.train = {.batch_size = 4, .accumulate = 2};
  config.optimizer.lr = 1e-2;
  resolve(config);
  return config;
}

struct Run : StepRun {
  explicit Run(const Config& c, Device device = {}, StepMode mode = StepMode::recorded)
      : StepRun(c, DType::float32, device, mode) {}
  TrainingStep::Result step(std::int64_t number, const StepLimits& limits = TrainingStep::kNoLimits) {
    return StepRun::step(number, limits, false);
  }
  std::vector<double> bias(int layer) const {
    return model.parameters().buffer("layer" + std::to_string(layer) + ".ff.expert_bias").value.values();
  }
  std::vector<Tensor> state() const {
    std::vector<Tensor> all{clone(model.parameters().values())};
    for (const Buffer& b : model.parameters().buffers()) all.push_back(clone(b.value));
    return all;
  }
};

// How often each expert is chosen in a step, layer by layer, counted by a pass that changes nothing.
std::vector<std::vector<std::int64_t>> loads_of(const Run& run, std::int64_t step) {
  std::vector<std::vector<std::int64_t>> loads(static_cast<std::size_t>(run.config.model.layers));
  for (std::int64_t group = 0; group < run.config.train.accumulate; ++group) {
    const ForwardContext context{.training = true,
                                 .seed = static_cast<std::uint64_t>(run.config.train.seed),
                                 .step = static_cast<std::uint32_t>(step * run.config.train.accumulate + group),
                                 .collect_statistics = true};
    const Memory memory = run.memories.empty() ? Memory() : run.memories[static_cast<std::size_t>(group)];
    const NoGradient guard;
    const auto out = run.model(batch_of(run.config, step, group).inputs, memory, 8, context);
    for (std::size_t layer = 0; layer < loads.size(); ++layer) {
      loads[layer].resize(out.statistics[layer].expert_counts.size());
      for (std::size_t e = 0; e < loads[layer].size(); ++e) loads[layer][e] += out.statistics[layer].expert_counts[e];
    }
  }
  return loads;
}

// The plain rule, on numbers of selections.
void move_bias(std::vector<float>& bias, const std::vector<std::int64_t>& load) {
  double mean = 0;
  for (std::int64_t l : load) mean += static_cast<double>(l) / static_cast<double>(load.size());
  for (std::size_t e = 0; e < bias.size(); ++e) {
    const double behind = mean - static_cast<double>(load[e]);
    if (std::abs(behind) > 1e-6) bias[e] += static_cast<float>(behind > 0 ? kRate : -kRate);
  }
}

}  // namespace

TEST_CASE("buffers: beside the parameters, but no part of what is optimised and counted") {
  ParameterSet set;
  set.add("weight", {3, 4}, initialise::constant(2));
  const Buffer& follows = set.add_buffer("follows", {2}, initialise::constant(1),
                                         [](const Tensor& value, const Tensor& observed) { return value + observed; });
  const Buffer& constant = set.add_buffer("constant", {3}, initialise::normal(1));
  CHECK(error_message([&] { set.add("follows", {1}, initialise::constant(0)); }).find("declared twice") !=
        std::string::npos);
  CHECK(error_message([&] { set.add_buffer("weight", {1}, initialise::constant(0)); }).find("declared twice") !=
        std::string::npos);
  for (const Device device : available_devices()) {
    ParameterSet same;
    same.add("weight", {3, 4}, initialise::constant(2));
    same.add_buffer("constant", {3}, initialise::normal(1));
    same.allocate(DType::float64, 3, device);
    CHECK(same.buffer("constant").value.device() == device);
    CHECK_FALSE(requires_gradient(same.buffer("constant").value));
    if (!set.values().defined()) set.allocate(DType::float64, 3);
    CHECK(same_bits(to_device(same.buffer("constant").value, {}), constant.value));
  }
  CHECK(set.count() == 12);
  CHECK(set.parameters().size() == 1);
  ParameterSet without;
  without.add("weight", {3, 4}, initialise::constant(2));
  without.allocate(DType::float64, 3);
  CHECK(set.values().numel() == without.values().numel());

  const Tensor drawn = clone(constant.value), fine = Tensor::full({}, 0.5, DType::float64);
  const auto seen = [&](double value) { return Observation{&follows, Tensor::full({2}, value, DType::float64)}; };
  set.update_buffers(std::vector{seen(2), seen(5)}, fine);
  CHECK(follows.value.values() == std::vector<double>{8, 8});
  for (const double bad : {double{NAN}, double{INFINITY}})
    set.update_buffers(std::vector{seen(bad)}, Tensor::full({}, bad, DType::float64));
  CHECK(follows.value.values() == std::vector<double>{8, 8});
  CHECK(error_message([&] { set.update_buffers({}, fine); }).find("the buffer 'follows'") != std::string::npos);
  fill(constant.value, 0);
  set.initialise(3);
  CHECK(same_bits(constant.value, drawn));
  CHECK(follows.value.values() == std::vector<double>{1, 1});
}

TEST_CASE("buffers: a step moves every bias by the selections of all its passes, once") {
  for (const bool recompute : {false, true})
    for (const std::int64_t group : {0, 1}) {  // layers of their own, or one that is used twice
      CAPTURE(recompute);
      CAPTURE(group);
      Config config = small_config();
      config.model.checkpoint_activations = recompute;
      config.model.layer_group = group;
      Run run(config);
      const std::size_t distinct = group == 0 ? 2 : 1;
      std::vector<std::vector<float>> expected(distinct, std::vector<float>(5));
      for (std::int64_t step = 0; step < 5; ++step) {
        const auto loads = loads_of(run, step);
        const auto bias_before = run.bias(0);
        std::vector<std::vector<std::int64_t>> of_layer(loads.begin(), loads.begin() + distinct);
        for (std::size_t e = 0; distinct == 1 && e < 5; ++e) of_layer[0][e] += loads[1][e];
        for (std::size_t layer = 0; layer < distinct; ++layer) move_bias(expected[layer], of_layer[layer]);
        CHECK(run.bias(0) == bias_before);  // a forward pass alone changes nothing
        CHECK(run.step(step).applied);
        for (std::size_t layer = 0; layer < distinct; ++layer)
          CHECK(run.bias(static_cast<int>(layer)) ==
                std::vector<double>(expected[layer].begin(), expected[layer].end()));
      }
      CHECK(*std::max_element(expected[0].begin(), expected[0].end()) > 0);
    }
}

TEST_CASE("buffers: activations that are computed again change no bit") {
  for (const char* selection : {"bias-balanced", "expert-choice"}) {
    Config config = small_config();
    config.feedforward.selection = selection;
    config.feedforward.expert_dropout = 0.1;
    Run kept(config);
    config.model.checkpoint_activations = true;
    Run again(config);
    for (std::int64_t step = 0; step < 6; ++step) CHECK(kept.step(step).loss == again.step(step).loss);
    check_same_bits(again.state(), kept.state());
  }
}

TEST_CASE("buffers: a step that is skipped leaves them, replayed or not") {
  for (const Device device : available_devices()) {
    CAPTURE(device_name(device));
    Run run(small_config(), device);
    for (std::int64_t step = 0; step < 8; ++step) {
      const std::vector<double> before = run.bias(0);
      const bool applied = run.step(step, {step % 3 == 1 ? 0.5 : 100, step % 3 == 2 ? 1e-6 : 1e6}).applied;
      CHECK(applied == (step % 3 == 0));
      CHECK((run.bias(0) != before) == applied);
    }
    CHECK(run.update->is_recorded() == can_record(device));
    fill(run.model.parameters().at("out_norm.weight").value, NAN);
    const std::vector<double> before = run.bias(0);
    CHECK_FALSE(run.step(8).applied);
    CHECK(run.bias(0) == before);
  }
}

TEST_CASE("buffers: evaluation uses them and leaves them") {
  Run run(small_config());
  const Tensor ids = batch_of(run.config, 0, 0).inputs;
  const NoGradient guard;
  const LanguageModelOutput before = run.model(ids, {}, 0, {});
  CHECK(before.observations.empty());
  const Tensor bias = run.model.parameters().buffer("layer0.ff.expert_bias").value;
  copy_into(converted(random_tensor({5}, 3, -9, 9), DType::float32), bias);
  CHECK(max_difference(run.model(ids, {}, 0, {}).logits, before.logits) > 1e-3);
}

TEST_CASE("buffers: a checkpoint has them by name") {
  const TemporaryDirectory folder;
  const Config config = small_config();
  Run saved(config);
  for (std::int64_t step = 0; step < 3; ++step) saved.step(step);
  const auto save = [&](Run& run, const std::string& name) {
    return save_checkpoint(folder / name, run.config, run.model.parameters(), run.update->optimizer(), {});
  };
  const std::string path = save(saved, "balanced");
  const SafetensorsFile file(path + "/model.safetensors");
  CHECK(same_bits(file.load("layer1.ff.expert_bias"), saved.state()[2]));
  CHECK_FALSE(SafetensorsFile(path + "/optimizer.safetensors").has("m.layer1.ff.expert_bias"));
  for (const Device device : available_devices()) {
    Run loaded(config, device);
    TrainingState state;
    load_checkpoint(path, loaded.model.parameters(), loaded.update->optimizer(), state);
    CHECK(loaded.bias(0) == saved.bias(0));
    CHECK(loaded.bias(1) == saved.bias(1));
    load_parameters(path, loaded.model.parameters());
    CHECK(loaded.bias(1) == saved.bias(1));
  }

  // One from before the model had them, and one that is no number.
  Config plain_config = config;
  plain_config.feedforward.selection = "top-k";
  Run plain(plain_config);
  const std::string without = save(plain, "plain");
  load_parameters(without, plain.model.parameters());
  CHECK(error_message([&] { load_parameters(without, saved.model.parameters()); }).find("expert_bias") !=
        std::string::npos);
  fill(saved.model.parameters().buffer("layer0.ff.expert_bias").value, NAN);
  const std::string damaged = save(saved, "damaged");
  CHECK(error_message([&] {
          load_parameters(damaged, saved.model.parameters());
        }).find("layer0.ff.expert_bias is nan") != std::string::npos);
}

TEST_CASE("buffers: an attention may have some as well") {
  Config config = small_config();
  config.model.attention = "watching";
  config.train.accumulate = 1;
  for (const Device device : available_devices()) {
    Run run(config, device);
    const auto seen = [&] { return run.model.parameters().buffer("layer0.attn.seen").value.item(); };
    CHECK(seen() == 1);
    run.step(0);
    CHECK(std::abs(seen() - 0.5) < 0.1);  // what a layer norm gives has a mean near 0
    run.step(1);
    CHECK(std::abs(seen() - 0.25) < 0.1);
  }
}

TEST_CASE("buffers: a run that was stopped goes on bit for bit") {
  const TemporaryDirectory folder;
  const Corpus corpus = corpus_of(folder, 6000, [](std::size_t i) { return "the weir holds back. "[i % 21]; });
  for (const char* selection : {"bias-balanced", "expert-choice"}) {
    CAPTURE(selection);
    Config config = small_config();
    config.model.vocabulary = 256;
    config.feedforward.selection = selection;
    config.data.train = corpus.name();
    config.train.steps = 30;
    config.eval.every = 10, config.sample.every = 0, config.checkpoint.every = 10;
    resolve(config);
    validate(config);
    const std::string name = selection;
    const TrainingResult whole = train(config, RunDirectory(folder / (name + "-whole")), {.quiet = true});
    const RunDirectory cut(folder / (name + "-cut"));
    train(config, cut, {.quiet = true, .should_stop = [](std::int64_t steps) { return steps == 13; }});
    const TrainingResult rest = train(config, cut, {.resume = true, .quiet = true});
    CHECK(rest.steps == 30);
    CHECK(read_file(rest.checkpoint + "/model.safetensors", 1 << 24) ==
          read_file(whole.checkpoint + "/model.safetensors", 1 << 24));
    CHECK(rest.validation.nats_per_token == whole.validation.nats_per_token);
    Config other = config;
    other.feedforward.selection = "top-k";
    const std::string refusal = error_message([&] { train(other, cut, {.resume = true, .quiet = true}); });
    CHECK((refusal.find("was begun with") != std::string::npos) == (name == "bias-balanced"));
  }
}
