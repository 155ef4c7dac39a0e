// Optimisers: against PyTorch's numbers, in groups, on every device, and over a checkpoint. Muon: test_muon.cpp.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/autograd.h"
#include "models/initialise.h"
#include "models/transformer_xl.h"
#include "ops/support/samples.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "tests/source_dir.h"
#include "train/checkpoint.h"
#include "train/optimizer/adamw.h"
#include "train/optimizer/sgd.h"
#include "train/preconditions.h"
#include "train/training_step.h"

using namespace weir;

namespace {

// --- PyTorch's numbers: tests/reference/optimizers/make_reference.py ------------------------------------------------

constexpr const char* kNoDecay = "*.bias, *norm*";
constexpr const char* kRates = "layer0.*=0.3, layer1.bias=2";

struct ReferenceCase {
  std::string name;
  OptimizerConfig config;
};

OptimizerConfig sgd_config(double momentum, bool nesterov, double weight_decay) {
  OptimizerConfig config{.weight_decay = weight_decay, .kind = "sgd"};
  config.own.get<SgdConfig>() = {.momentum = momentum, .nesterov = nesterov};
  return config;
}

OptimizerConfig in_groups(OptimizerConfig config) {
  config.no_decay = kNoDecay;
  config.rates = kRates;
  return config;
}

std::vector<ReferenceCase> reference_cases() {
  return {{"sgd", sgd_config(0, false, 0)},
          {"sgd-momentum", sgd_config(0.9, false, 0)},
          {"sgd-decay", sgd_config(0.8, false, 0.1)},
          {"sgd-nesterov", sgd_config(0.9, true, 0.05)},
          {"sgd-groups", in_groups(sgd_config(0.9, true, 0.1))},
          {"adamw", {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1}},
          {"adamw-groups", in_groups({.beta1 = 0.8, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.2})}};
}

SafetensorsFile reference_file() {
  return SafetensorsFile(std::string(WEIR_SOURCE_DIR) + "/tests/reference/optimizers/optimizers.safetensors");
}

const std::vector<std::string> kNames = {"layer0.w", "layer0.bias", "layer0.norm.weight", "layer1.w", "layer1.bias"};

// The parameters of the file in its order, with their first values.
void load_initial(ParameterSet& set, const SafetensorsFile& file, Device device) {
  for (const std::string& name : kNames) set.add(name, file.shape("initial." + name), initialise::constant(0));
  set.allocate(DType::float64, 1, device);
  for (const Parameter& p : set.parameters()) file.load_into("initial." + p.name, p.value);
}

void check_against_torch(const ReferenceCase& c, Device device) {
  const SafetensorsFile file = reference_file();
  ParameterSet set;
  load_initial(set, file, device);
  const auto optimizer = make_optimizer(c.config, set);
  const std::vector<double> rates = file.load("rates").values(), factors = file.load("factors").values();
  for (std::size_t step = 0; step < rates.size(); ++step) {
    const auto row = static_cast<std::int64_t>(step);
    for (const Parameter& p : set.parameters())
      copy_into(reshaped(slice_view(file.load("gradients." + p.name), 0, row, row + 1), p.shape), gradient(p.value));
    optimizer->step(rates[step], factors[step]);
    for (const Parameter& p : set.parameters()) {
      const std::string saved = fmt::format("{}.{}.{}", c.name, step + 1, p.name);
      if (!file.has(saved)) continue;
      CAPTURE(saved);
      CHECK(max_difference(p.value, file.load(saved)) < 1e-12);
    }
  }
  CHECK(optimizer->updates() == std::ssize(rates));
  CHECK(optimizer->unsound().item() == 0);
}

// --- a small model ---------------------------------------------------------------------------------------------------

Config small_config(const std::string& kind) {
  Config config;
  config.model = {.vocabulary = 17, .d_model = 12, .layers = 2, .heads = 2, .head_size = 6, .segment = 6};
  config.feedforward = {.kind = "moe", .experts = 3, .expert_size = 8, .k = 2, .regulariser = "none"};
  config.train = {.batch_size = 2, .steps = 100};
  config.optimizer = {.lr = 1e-3, .weight_decay = 0.1, .kind = kind};
  resolve(config);
  return config;
}

struct Run {
  explicit Run(const Config& c, Device device = {}, StepMode mode = StepMode::recorded, std::uint64_t seed = 5)
      : config(c), model(config.model, config.feedforward) {
    model.initialise(seed, DType::float32, device);
    update.emplace(config, model, mode);
  }
  TrainingStep::Result step(std::int64_t number, const StepLimits& limits = TrainingStep::kNoLimits) {
    const std::int64_t segment = config.model.segment;
    const Tensor all = random_indices({config.train.batch_size, segment + 1}, static_cast<std::uint64_t>(number + 1),
                                      config.model.vocabulary, DType::int32);
    const Batch batch{clone(slice_view(all, 1, 0, segment)), clone(slice_view(all, 1, 1, segment + 1))};
    return (*update)([&](std::int64_t) { return batch; }, memories, number, config.optimizer.lr, false, limits);
  }
  const Tensor& weights() const { return model.parameters().values(); }

  const Config config;
  TransformerXl model;
  std::optional<TrainingStep> update;
  std::vector<Memory> memories;
};

const std::vector<std::string> kKinds = {"adamw", "sgd", "muon"};

}  // namespace

TEST_CASE("devices: optimizers follow PyTorch's numbers over 50 steps") {
  for (const Device device : available_devices())
    for (const ReferenceCase& c : reference_cases()) {
      INFO(c.name, " / ", device_name(device));
      check_against_torch(c, device);
    }
}

TEST_CASE("devices: SGD with decoupled weight decay against a plain loop") {
  for (const Device device : available_devices()) {
    const SafetensorsFile file = reference_file();
    ParameterSet set;
    load_initial(set, file, device);
    OptimizerConfig config = sgd_config(0.9, true, 0.1);
    config.own.get<SgdConfig>().decay = "decoupled";
    const auto optimizer = make_optimizer(config, set);
    const Parameter& w = set.at("layer0.w");
    std::vector<double> p = w.value.values(), b(p.size());
    for (int t = 1; t <= 20; ++t) {
      for (const Parameter& each : set.parameters())
        copy_into(random_tensor(each.shape, static_cast<std::uint64_t>(t)), gradient(each.value));
      const std::vector<double> g = gradient(w.value).values();
      for (std::size_t i = 0; i < p.size(); ++i) {
        b[i] = 0.9 * b[i] + 0.5 * g[i];
        p[i] = (1 - 0.02 * 0.1) * p[i] - 0.02 * (0.5 * g[i] + 0.9 * b[i]);
      }
      optimizer->step(0.02, 0.5);
    }
    CHECK(max_difference(w.value, Tensor::from_values(w.shape, p)) < 1e-12);
  }
}

TEST_CASE("optimizers: a pattern matches whole names, and * any part of them") {
  const auto match = [](const char* pattern, const char* name) { return matches_pattern(pattern, name); };
  CHECK(match("embedding", "embedding"));
  CHECK_FALSE(match("embedding", "embedding2"));
  CHECK_FALSE(match("bias", "layer0.bias"));
  CHECK(match("*.bias", "layer0.ff.bias"));
  CHECK(match("*norm*", "layer0.norm1.weight"));
  CHECK(match("layer*.ff.w*", "layer12.ff.w1"));
  CHECK_FALSE(match("layer*.ff.w*", "layer12.attn.w_q"));
  CHECK(match("*a*ab", "xaxaab"));
  CHECK(match("*", ""));
  CHECK(match("**", "x"));
  CHECK_FALSE(match("", "x"));
}

TEST_CASE("optimizers: neighbours of one group are one range") {
  ParameterSet set;
  for (const char* name : {"a.w", "a.bias", "b.bias", "b.w", "c.w"}) set.add(name, {20}, initialise::constant(1));
  set.add("nothing", {0, 3}, initialise::constant(1));
  set.allocate(DType::float32, 1);
  const std::int64_t total = set.values().numel(), each = total / 5;
  const auto whole = ranges_of(set, {});
  REQUIRE(whole.size() == 1);
  CHECK(whole[0].begin == 0);
  CHECK(whole[0].end == total);
  const auto three = ranges_of(set, {"*.bias", ""});
  REQUIRE(three.size() == 3);
  CHECK(three[1].begin == each);
  CHECK(three[1].end == 3 * each);
  CHECK_FALSE(three[1].decays);
  const auto rates = ranges_of(set, {"*.bias", "a.*=0.5, *.w=2"});  // of a.w the last counts
  REQUIRE(rates.size() == 4);
  CHECK(rates[0].rate == 2);
  CHECK(rates[1].rate == 0.5);
  CHECK(rates[2].rate == 1);
  CHECK(rates[3].rate == 2);
  CHECK(rates[3].end == total);
  const auto alone = ranges_of(set, {}, [](const Parameter& p) { return p.name.ends_with(".w"); });
  REQUIRE(alone.size() == 4);
  CHECK(alone[1].end == 3 * each);
  CHECK(alone[3].alone == &set.at("c.w"));
}

TEST_CASE("optimizers: groups that are none are refused with what to write") {
  const auto message = [](const std::string& no_decay, const std::string& rates) {
    return error_message([&] {
      const Config config = small_config("adamw");
      const TransformerXl declared(config.model, config.feedforward);
      ParameterGroups(no_decay, rates).check(declared.parameters());
    });
  };
  CHECK(message("*norm*, *.bias", "*.router=0.1").empty());
  CHECK(message(" ", "").empty());
  const std::string unknown = message("*.bias, layer*.norm3.weight", "");
  CHECK(
      unknown.starts_with("optimizer.no_decay: \"layer*.norm3.weight\" matches no parameter of the model; did you "
                          "mean layer*.norm1.weight?; its parameters are called embedding, layer*.norm1.weight, "));
  CHECK(message("", "*.rooter=0.1").find("; did you mean *.router?; its parameters are") != std::string::npos);
  CHECK(message("", "router=0.1").starts_with("optimizer.rates: \"router\" matches no parameter of the model"));
  CHECK(message("a,,b", "") ==
        "optimizer.no_decay = \"a,,b\": a name is missing before or after a comma; leave that comma out");
  CHECK(message("", "embedding, x=1") ==
        "optimizer.rates = \"embedding, x=1\": \"embedding\" is not NAME=FACTOR; write for example *.router=0.1");
  CHECK(message("", "=1").find("\"=1\" is not NAME=FACTOR") != std::string::npos);
  for (const char* factor : {"x", "-1", "nan", "inf", "1e999", "", "1 2"})
    CHECK(message("", std::string("embedding=") + factor)
              .ends_with(fmt::format("\": \"{}\" is no factor of a learning rate; give a number from 0 on, such as 0.1",
                                     factor)));
  // In the library, and before a run begins.
  Config config = small_config("sgd");
  config.optimizer.rates = "nothing=2";
  CHECK(error_message([&] { Run run(config); }).starts_with("optimizer.rates: \"nothing\" matches no parameter"));
  config.optimizer.kind = "adam";
  CHECK(error_message([&] { Run run(config); }) ==
        "optimizer.kind: there is no \"adam\"; did you mean adamw?; choose one of adamw, muon, sgd");
}

TEST_CASE("optimizers: groups that change nothing give the same bits") {
  Config config = small_config("adamw");
  Run whole(config);
  config.optimizer.rates = "*norm*=1.0, *.w1=1";
  Run same(config);
  config.optimizer.rates = "*norm*=1.0, *.w1=0.5, *.w1=1";
  Run again(config);
  config.optimizer.no_decay = "*norm*";
  Run other(config);
  for (std::int64_t step = 0; step < 4; ++step)
    for (Run* const run : {&whole, &same, &again, &other}) run->step(step);
  CHECK(same_bits(whole.weights(), same.weights()));
  CHECK(same_bits(whole.weights(), again.weights()));
  CHECK_FALSE(same_bits(whole.weights(), other.weights()));
}

TEST_CASE("optimizers: a rate of 0 leaves parameters as they are") {
  for (const std::string& kind : kKinds) {
    Config config = small_config(kind);
    config.optimizer.rates = "*.w1=0, embedding=0";
    Run run(config);
    const Tensor w1 = clone(run.model.parameters().at("layer1.ff.w1").value.detach()),
                 embedding = clone(run.model.parameters().at("embedding").value.detach()),
                 all = clone(run.weights().detach());
    for (std::int64_t step = 0; step < 3; ++step) run.step(step);
    CHECK(same_bits(run.model.parameters().at("layer1.ff.w1").value, w1));
    CHECK(same_bits(run.model.parameters().at("embedding").value, embedding));
    CHECK_FALSE(same_bits(run.weights(), all));
  }
}

TEST_CASE("devices: each optimizer follows the CPU, in groups and replayed") {
  for (const Device device : available_devices())
    for (const std::string& kind : kKinds) {
      Config config = small_config(kind);
      config.optimizer.no_decay = "*norm*, *.bias";
      config.optimizer.rates = "*.router=0.1, layer0.*=0.5";
      Run here(config), there(config, device), eager(config, device, StepMode::eager);
      INFO(kind, " / ", device_name(device));
      for (std::int64_t step = 0; step < 6; ++step) {
        const double loss = here.step(step).loss;
        const TrainingStep::Result a = there.step(step), b = eager.step(step);
        CHECK(a.loss == doctest::Approx(loss).epsilon(1e-3));
        CHECK(a.loss == b.loss);
        CHECK(a.sound);
      }
      CHECK(there.update->is_recorded() == can_record(device));
      CHECK(same_bits(there.weights(), eager.weights()));
      CHECK(there.update->optimizer().updates() == 6);
    }
}

TEST_CASE("optimizers: values outside their limits are refused wherever one is made") {
  ParameterSet set;
  set.add("w", {2, 3}, initialise::constant(1));
  set.allocate(DType::float32, 1);
  OptimizerConfig config{.kind = "sgd"};
  config.own.get<SgdConfig>().momentum = 1.5;
  CHECK(error_message([&] { make_optimizer(config, set); }).starts_with("sgd.momentum = 1.5: give "));
}

TEST_CASE("devices: a step is applied where the weights move, whatever the optimizer, replayed or not") {
  for (const Device device : available_devices())
    for (const std::string& kind : kKinds) {
      Config config = small_config(kind);
      config.optimizer.no_decay = "*norm*, *.bias";
      Run run(config, device);
      INFO(kind, " / ", device_name(device));
      std::int64_t updates = 0;
      for (std::int64_t step = 0; step < 8; ++step) {
        CAPTURE(step);
        const Tensor before = clone(run.weights());
        const bool applied = run.step(step, {step % 4 == 1 ? 0.5 : 100, step % 4 == 3 ? 1e-6 : 1e6}).applied;
        CHECK(applied == (step % 2 == 0));
        CHECK(applied == !same_bits(run.weights(), before));
        CHECK(run.update->optimizer().updates() == (updates += applied));
      }
      CHECK(run.update->is_recorded() == can_record(device));
    }
}

TEST_CASE("devices: no optimizer moves where the factor is not finite, and each tells of what it ruined") {
  for (const Device device : available_devices())
    for (const std::string& kind : kKinds) {
      Run run(small_config(kind), device);
      run.step(0);
      Optimizer& optimizer = run.update->optimizer();
      const auto everything = [&] {
        std::vector<Tensor> list{clone(run.weights())};
        for (const StateArena& arena : optimizer.state()) list.push_back(clone(arena.values()));
        return list;
      };
      const std::vector<Tensor> before = everything();
      INFO(kind, " / ", device_name(device));
      for (const double factor : {double{NAN}, double{INFINITY}, -double{INFINITY}}) {
        optimizer.step(0.1, factor);
        check_same_bits(everything(), before);
        CHECK(optimizer.updates() == 1);
      }
      for (const NamedTensor& state : optimizer.named_state()) {
        if (state.tensor.numel() == 0) continue;
        CAPTURE(state.name);
        const Tensor kept = clone(state.tensor);
        fill(state.tensor, 1e30);
        optimizer.step(0.0, 0.0);
        CHECK(optimizer.unsound().item() == 1);
        optimizer.forget();
        CHECK(optimizer.unsound().item() == 0);
        CHECK(optimizer.updates() == 0);
        CHECK(max_difference(state.tensor, Tensor::zeros_like(kept)) == 0);
        if (state.name.ends_with("layer1.ff.w1")) break;  // one of each sort has been seen
      }
    }
}

TEST_CASE("optimizers: a run that goes on from its checkpoint ends with the same bits") {
  for (const std::string& kind : kKinds) {
    CAPTURE(kind);
    const TemporaryDirectory folder;
    Config config = small_config(kind);
    config.optimizer.no_decay = "*.bias";
    Run whole(config);
    std::string path;
    for (std::int64_t step = 0; step < 6; ++step) {
      if (step == 3) {
        TrainingState state;
        state.step = step;
        state.memories = whole.memories;
        path = save_checkpoint(folder.path(), config, whole.model.parameters(), whole.update->optimizer(), state);
      }
      whole.step(step);
    }
    Run resumed(config, {}, StepMode::recorded, 9);
    TrainingState state;
    load_checkpoint(path, resumed.model.parameters(), resumed.update->optimizer(), state);
    CHECK(resumed.update->optimizer().updates() == 3);
    resumed.memories = state.memories;
    for (std::int64_t step = 3; step < 6; ++step) resumed.step(step);
    CHECK(same_bits(whole.weights(), resumed.weights()));
    for (std::size_t i = 0; i < whole.update->optimizer().state().size(); ++i)
      CHECK(same_bits(whole.update->optimizer().state()[i].values(), resumed.update->optimizer().state()[i].values()));
    CHECK(checkpoint_config(path).optimizer == config.optimizer);
    // What another optimiser kept is of no use.
    Run other(small_config(kind == "sgd" ? "adamw" : "sgd"));
    const Tensor before = clone(other.weights());
    const std::string message =
        error_message([&] { load_checkpoint(path, other.model.parameters(), other.update->optimizer(), state); });
    CHECK(message == fmt::format("{}/state.json: this run was trained with optimizer.kind = \"{}\", whose state "
                                 "optimizer.kind = \"{}\" cannot take over: set optimizer.kind = \"{}\", or begin "
                                 "another run",
                                 path, kind, other.config.optimizer.kind, kind));
    CHECK(same_bits(other.weights(), before));
  }
}

TEST_CASE("optimizers: what is kept is fixed once a run has begun") {
  const Config saved = small_config("sgd");
  const auto message = [&](auto&& change) {
    Config now = saved;
    change(now.optimizer);
    return error_message([&] { check_settings_unchanged(saved, now, "runs/x"); });
  };
  CHECK(
      message([](OptimizerConfig& o) { o.kind = "adamw"; }) ==
      "optimizer.kind = \"adamw\", but the run in runs/x was begun with \"sgd\": leave it as it was, or begin another "
      "run with --run");
  CHECK(message([](OptimizerConfig& o) {
          o.own.get<SgdConfig>().momentum = 0;
        }).starts_with("sgd.momentum = 0.0, but the run in runs/x was begun with 0.9"));
  CHECK(message([](OptimizerConfig& o) { o.own.get<SgdConfig>().momentum = 0.8; }).empty());
  CHECK(message([](OptimizerConfig& o) { o.no_decay = "*.bias", o.own.get<SgdConfig>().nesterov = true; }).empty());
}

TEST_CASE("optimizers: what each keeps is foreseen") {
  for (const std::string& kind : kKinds) {
    CAPTURE(kind);
    Run run(small_config(kind));
    std::int64_t kept = 0;
    for (const NamedTensor& state : run.update->optimizer().named_state()) kept += state.tensor.numel();
    const ParameterSet& parameters = run.model.parameters();
    CHECK(optimizer_state_count(run.config.optimizer, parameters) == kept);
    const double bytes = optimizer_state_bytes(run.config.optimizer, parameters);
    if (kind == "adamw") CHECK(bytes == 8);
    if (kind == "sgd") CHECK(bytes == 4);
    if (kind == "muon") CHECK((bytes > 4 && bytes < 8));
  }
}
