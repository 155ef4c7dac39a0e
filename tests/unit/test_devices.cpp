// Whole training runs on every other device against the CPU: the same seed gives the same masks, the same data and,
// within rounding, the same losses.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "models/transformer_xl.h"
#include "op_suite.h"
#include "ops/add.h"
#include "ops/cpu/gemm_backends.h"
#include "ops/support/samples.h"
#include "step_run.h"
#include "temporary_directory.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/generate.h"
#include "train/training_step.h"

using namespace weir;
using namespace weir::tests;

namespace {

constexpr std::int64_t kSteps = 6;

std::vector<Device> other_devices() {
  std::vector<Device> devices = available_devices();
  devices.erase(devices.begin());
  return devices;
}

Config base_config() {
  Config config;
  config.model = {.vocabulary = 32, .d_model = 20, .layers = 2, .heads = 2, .head_size = 9, .segment = 8};
  config.model.memory = 12;  // longer than a segment, so that it grows for a while
  config.model.dropout = 0.1;
  config.feedforward = {.kind = "dense", .d_ff = 24, .experts = 5, .expert_size = 8, .k = 2, .sub_keys = 6};
  config.train = {.batch_size = 4, .accumulate = 2};
  config.optimizer.lr = 1e-2;
  config.optimizer.clip = 0.5;
  config.optimizer.weight_decay = 0.01;
  return config;
}

struct Variant {
  std::string name;
  std::function<void(Config&)> change;
};

const std::vector<Variant>& variants() {
  static const std::vector<Variant> all = {
      {"dense", [](Config&) {}},
      {"top-k", [](Config& c) { c.feedforward.kind = "top-k", c.feedforward.k = 7; }},
      {"pkm, all values", [](Config& c) { c.feedforward.kind = "pkm", c.feedforward.k = 6; }},
      {"pkm, softmax",
       [](Config& c) { c.feedforward.kind = "pkm", c.feedforward.k = 6, c.feedforward.activation = "softmax"; }},
      {"pkm, chosen values", [](Config& c) { c.feedforward.kind = "pkm", c.feedforward.k = 3; }},
      {"sigma-moe",
       [](Config& c) {
         c.feedforward.kind = "moe", c.feedforward.expert_dropout = 0.2, c.feedforward.regulariser_weight = 0.01;
       }},
      {"moe, dropout of hidden units",
       [](Config& c) { c.feedforward.kind = "moe", c.feedforward.dropout_experts = 0.2; }},
      {"moe, switch",
       [](Config& c) {
         c.feedforward.kind = "moe", c.feedforward.k = 1, c.feedforward.gate = "softmax",
         c.feedforward.regulariser = "switch-paper", c.feedforward.regulariser_weight = 0.01;
       }},
      {"moe, noisy",
       [](Config& c) {
         c.feedforward.kind = "moe", c.feedforward.scores = "noisy", c.feedforward.gate = "softmax-after-topk",
         c.feedforward.regulariser = "importance", c.feedforward.regulariser_weight = 0.01;
       }},
      {"moe, sinkhorn", [](Config& c) { c.feedforward.kind = "moe", c.feedforward.selection = "sinkhorn"; }},
      {"moe, assignment",
       [](Config& c) { c.feedforward.kind = "moe", c.feedforward.k = 1, c.feedforward.selection = "assignment"; }},
      {"moe, random",
       [](Config& c) {
         c.feedforward.kind = "moe", c.feedforward.selection = "random", c.feedforward.regulariser = "none";
       }},
      {"switch-head",
       [](Config& c) { c.model.attention = "switch-head", c.model.attention_experts = 3, c.model.attention_k = 2; }},
      {"recomputed activations", [](Config& c) { c.model.checkpoint_activations = true; }},
      {"moe, bias-balanced and recomputed",
       [](Config& c) {
         c.feedforward.kind = "moe", c.feedforward.selection = "bias-balanced", c.feedforward.bias_update_rate = 0.02;
         c.model.checkpoint_activations = true;
       }},
      {"moe, expert choice",
       [](Config& c) {
         c.feedforward.kind = "moe", c.feedforward.selection = "expert-choice", c.feedforward.gate = "softmax";
       }},
  };
  return all;
}

struct Run : StepRun {
  using StepRun::StepRun;
  TrainingStep::Result step(std::int64_t number, const StepLimits& limits = TrainingStep::kNoLimits) {
    return StepRun::step(number, limits, number == 2);
  }
};

void compare(const Variant& variant, const std::string& precision, DType parameters, double tolerance) {
  Config config = base_config();
  variant.change(config);
  config.model.precision = precision;
  resolve(config);
  for (const Device device : other_devices()) {
    Run here(config, parameters, {}), there(config, parameters, device);
    INFO(variant.name, " / ", precision, " / ", device_name(device));
    for (std::int64_t step = 0; step < kSteps; ++step) {
      const TrainingStep::Result a = here.step(step), b = there.step(step);
      CAPTURE(step);
      CHECK(b.applied);
      CHECK(a.loss == doctest::Approx(b.loss).epsilon(tolerance));
      CHECK(a.auxiliary_loss == doctest::Approx(b.auxiliary_loss).epsilon(tolerance));
      CHECK(a.gradient_norm == doctest::Approx(b.gradient_norm).epsilon(10 * tolerance));
    }
  }
}

}  // namespace

TEST_CASE("devices: training follows the CPU's losses, float64") {
  for (const Variant& variant : variants()) compare(variant, "float32", DType::float64, 1e-9);
}

TEST_CASE("devices: training follows the CPU's losses, float32 and bf16") {
  for (const Variant& variant : {variants()[0], variants()[2], variants()[5]}) {
    compare(variant, "float32", DType::float32, 2e-4);
    compare(variant, "bf16", DType::float32, 2e-2);
    compare(variant, "tf32", DType::float32, 2e-3);
  }
}

TEST_CASE("devices: tf32 changes what a GPU computes, and a CPU that has a matrix unit") {
  // Of several figures, because one may round to the same.
  const auto figures = [](const Variant& variant, const std::string& precision, Device device) {
    Config config = base_config();
    variant.change(config);
    config.model.precision = precision;
    resolve(config);
    Run run(config, DType::float32, device);
    std::vector<double> values;
    for (std::int64_t step = 0; step < 3; ++step) {
      const TrainingStep::Result result = run.step(step);
      values.insert(values.end(), {result.loss, result.gradient_norm});
    }
    return values;
  };
  const Variant &dense = variants()[0], &sigma_moe = variants()[5];
  CHECK((figures(dense, "tf32", {}) == figures(dense, "float32", {})) == (cpu::matrix_unit.multiply == nullptr));
  for (const Device device : other_devices())
    for (const Variant& variant : {dense, sigma_moe})
      CHECK(figures(variant, "tf32", device) != figures(variant, "float32", device));
}

TEST_CASE("devices: a replayed step gives the bits of an eager one") {
  for (const Device device : other_devices()) {
    if (!can_record(device)) continue;
    for (const Variant& variant :
         {variants()[0], variants()[4], variants()[5], variants()[12], variants()[14], variants()[15]}) {
      Config config = base_config();
      variant.change(config);
      config.model.precision = "bf16";
      resolve(config);
      Run eager(config, DType::float32, device, StepMode::eager), replayed(config, DType::float32, device);
      INFO(variant.name, " / ", device_name(device));
      for (std::int64_t step = 0; step < 9; ++step) {                      // recorded at 3, and again replayed at 8
        if (step == 6) eager.memories.clear(), replayed.memories.clear();  // an epoch ends
        const TrainingStep::Result a = eager.step(step), b = replayed.step(step);
        CHECK(a.loss == b.loss);
        CHECK(a.gradient_norm == b.gradient_norm);
      }
      CHECK_FALSE(eager.update->is_recorded());
      CHECK(replayed.update->is_recorded());
      CHECK(eager.model.parameters().values().values() == replayed.model.parameters().values().values());
      for (const Buffer& b : eager.model.parameters().buffers())
        CHECK(b.value.values() == replayed.model.parameters().buffer(b.name).value.values());
    }
  }
}

TEST_CASE("devices: a copy to another device writes its elements and nothing beside them") {
  for (const Device device : other_devices())
    for (const std::int64_t cols : {16, 30, 32}) {  // packed; with a pad; packed
      CAPTURE(cols);
      const Tensor from = converted(random_tensor({4, cols}, 1), DType::float32),
                   around = to_device(Tensor::full({6, 40}, 7, DType::float32), device);
      for (const Tensor& to :
           {Tensor::empty({4, cols}, from.dtype(), device), Tensor::empty({4, cols}, DType::float64, device),
            around.strided({4, cols}, {cols, 1}, 5), around.strided({4, cols}, {40, 1}, 41)}) {
        fill(around, 7);
        copy_into(from, to);
        CHECK(to.values() == from.values());
        const Tensor back = Tensor::zeros_like(from);
        copy_into(to, back);
        CHECK(back.values() == from.values());
        double sum = 0, of_rest = 7 * static_cast<double>(around.numel() - from.numel());
        for (const double value : around.values()) sum += value;
        for (const double value : from.values()) of_rest += value;
        if (to.storage() == around.storage()) CHECK(sum == doctest::Approx(of_rest).epsilon(1e-9));
      }
    }
}

TEST_CASE("devices: tensors of two devices are refused") {
  for (const Device device : other_devices()) {
    const Tensor here = Tensor::full({2}, 1, DType::float32), there = to_device(here, device);
    CHECK_THROWS_WITH_AS(add(there, here),
                         fmt::format("add: expected all tensors on one device, got one on {} and one on cpu; move one "
                                     "with to_device()",
                                     device_name(device))
                             .c_str(),
                         ArgumentError);
  }
}

TEST_CASE("devices: an op with one of its inputs elsewhere is refused, whichever it is") {
  for (const Device device : other_devices())
    for (const OpRecord& record : op_records()) {
      const std::vector<Sample> samples = record.samples();
      const auto several = std::find_if(samples.begin(), samples.end(), [](const Sample& sample) {
        return sample.inputs.size() > 1 && std::all_of(sample.inputs.begin(), sample.inputs.end(),
                                                       [](const Tensor& t) { return t.defined() && t.numel() > 0; });
      });
      if (several == samples.end() || record.name == "cast") continue;  // the sample of cast casts two, one by one
      for (std::size_t i = 0; i < several->inputs.size(); ++i) {
        std::vector<Tensor> inputs = inputs_of(*several, DType::float32, device);
        inputs[i] = to_device(inputs[i], {});
        INFO(record.name, ", ", several->name, ", input ", i);
        CHECK_THROWS_WITH_AS(several->run(inputs), doctest::Contains("expected all tensors on one device"),
                             ArgumentError);
      }
    }
}

TEST_CASE("devices: a step that is not finite changes nothing") {
  for (const Device device : other_devices()) {
    Config config = base_config();
    resolve(config);
    Run run(config, DType::float32, device);
    run.step(0);
    const std::vector<double> before = run.model.parameters().values().values();
    const Tensor& weight = run.model.parameters().at("out_norm.weight").value;
    fill(weight, NAN);
    CHECK_FALSE(run.step(1).applied);
    CHECK(run.update->optimizer().updates() == 1);
    fill(weight, 1);
    CHECK(run.step(2).applied);
    CHECK(before != run.model.parameters().values().values());
  }
}

TEST_CASE("devices: a step beyond a limit changes nothing, replayed or not") {
  std::vector<Device> devices = other_devices();
  devices.push_back({});
  for (const Device device : devices) {
    CAPTURE(device_name(device));
    Config config = base_config();
    resolve(config);
    Run run(config, DType::float32, device);
    for (std::int64_t step = 0; step < 8; ++step) {
      CAPTURE(step);
      const std::vector<double> before = run.model.parameters().values().values();
      const TrainingStep::Result result = run.step(step, {step % 3 == 1 ? 0.5 : 100, step % 3 == 2 ? 1e-6 : 1e6});
      CHECK(result.applied == (step % 3 == 0));
      CHECK(result.sound);
      CHECK((run.model.parameters().values().values() == before) == (step % 3 != 0));
      CHECK(run.update->optimizer().updates() == step / 3 + 1);
    }
    CHECK(run.update->is_recorded() == can_record(device));
    // A ruined moment, which shows in no loss: the update itself tells.
    const Tensor moment = run.update->optimizer().state("v").values();
    fill(moment.strided({}, {}, 0), 1e30);
    const TrainingStep::Result harmed = run.step(9);
    CHECK(harmed.applied);
    CHECK_FALSE(harmed.sound);
  }
}

TEST_CASE("devices: a checkpoint written on one device goes on on another") {
  for (const Device device : other_devices()) {
    const TemporaryDirectory folder;
    Config config = base_config();
    resolve(config);
    Run there(config, DType::float32, device);
    there.step(0);
    TrainingState state;
    state.step = 1;
    state.memories = there.memories;
    const std::string path =
        save_checkpoint(folder.path(), config, there.model.parameters(), there.update->optimizer(), state);
    Run here(config, DType::float32, {});
    TrainingState loaded;
    load_checkpoint(path, here.model.parameters(), here.update->optimizer(), loaded);
    here.memories = loaded.memories;
    CHECK(here.update->optimizer().updates() == 1);
    CHECK(here.step(1).loss == doctest::Approx(there.step(1).loss).epsilon(1e-5));
  }
}

TEST_CASE("devices: generation and evaluation run where the model is") {
  for (const Device device : other_devices()) {
    Config config = base_config();
    config.model.vocabulary = 256;
    resolve(config);
    Run here(config, DType::float32, {}), there(config, DType::float32, device);
    const GenerateOptions options{.tokens = 6, .seed = 3};
    CHECK(generate(here.model, ByteTokenizer(), "prompt", options) ==
          generate(there.model, ByteTokenizer(), "prompt", options));
    const TemporaryDirectory folder;
    std::string text;
    for (int i = 0; i < 90; ++i) text += static_cast<char>('a' + i * i % 17);
    std::ofstream(folder / "text", std::ios::binary) << text;
    const Corpus corpus = Corpus::text(folder / "text");
    for (const std::int64_t size : {90, 89, 60, 23, 6, 2})  // last segments of all lengths
      for (const std::int64_t batch : {1, 2, 3}) {
        INFO(size, " tokens, batch ", batch);
        const Evaluation a = evaluate(here.model, corpus.part(0, size), {.batch_size = batch}),
                         b = evaluate(there.model, corpus.part(0, size), {.batch_size = batch});
        CHECK(a.tokens == size - 1);
        CHECK(b.tokens == size - 1);
        CHECK(a.nats_per_token == doctest::Approx(b.nats_per_token).epsilon(1e-5));
      }
  }
}
