// The tensor that is not finite is found and named: in weights, in what ops give, in checkpoints.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/error.h"
#include "models/transformer_xl.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/checkpoint.h"
#include "train/diagnosis.h"
#include "train/not_finite.h"
#include "train/optimizer/adamw.h"
#include "train/soundness.h"
#include "train/training_step.h"

using namespace weir;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

Config small_config() {
  Config config;
  config.model = {.vocabulary = 7, .d_model = 6, .layers = 2, .heads = 2, .head_size = 3, .segment = 4};
  config.feedforward = {.kind = "moe", .experts = 4, .expert_size = 5, .k = 2};
  resolve(config);
  return config;
}

struct Model {
  Model() : model(config.model, config.feedforward) { model.initialise(1); }
  Tensor element(const std::string& name, const std::vector<std::int64_t>& place) const {
    const Tensor& value = model.parameters().at(name).value;
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < place.size(); ++axis)
      offset += place[axis] * value.strides()[static_cast<int>(axis)];
    return value.detach().strided({}, {}, offset);
  }
  std::string fault() const {
    const std::vector<double> tokens = {0, 1, 2, 3, 4, 5, 6, 0};
    const Tensor ids = Tensor::from_values({2, 4}, tokens, DType::int32);
    return first_fault(model, {ids, ids}, {}, {.training = true, .seed = 1, .step = 3});
  }

  const Config config = small_config();
  TransformerXl model;
};

std::string message_of(const auto& call) {
  try {
    call();
  } catch (const RunError& error) {
    CHECK(error.code() == ExitCode::bad_data);
    return error.what();
  }
  return "nothing was thrown";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("not finite: the first element is named with its place, its value and its expert") {
  const std::vector<double> values = {1, 2, 3, -kInfinity, kNan, 6};
  CHECK(first_not_finite("t", Tensor::from_values({2, 3}, values)) ==
        "t is -inf at [1, 0], and not finite in 2 of 6 elements");
  CHECK(first_not_finite("layer3.ff.w2", Tensor::from_values({3, 1, 2}, values)) ==
        "layer3.ff.w2 is -inf at [1, 0, 1], in expert 1, and not finite in 2 of 6 elements");
  CHECK_FALSE(first_not_finite("t", Tensor::zeros({3}, DType::float32)));
  CHECK_FALSE(first_not_finite("t", Tensor::zeros({3}, DType::int32)));
}

TEST_CASE("not finite: a step made again names the weight, the op or the gradient") {
  const Model sound;
  CHECK(contains(sound.fault(), "only finite tensors; the largest weight, "));
  const Model expert;
  fill(expert.element("layer1.ff.w1", {3, 5, 2}), kNan);
  CHECK(contains(expert.fault(), "layer1.ff.w1 is nan at [3, 5, 2], in expert 3"));
  // Finite weights that overflow on the way: the product of a row of 1e30 with activations around 1, squared in a norm.
  const Model overflowing;
  fill(overflowing.model.parameters().at("layer0.attn.w_o").value.detach(), 3e38);
  CAPTURE(overflowing.fault());
  CHECK(contains(overflowing.fault(), "the output of "));
  CHECK(contains(overflowing.fault(), " (layer0."));
}

TEST_CASE("not finite: no weight or moment may be absurd, whoever uses it") {
  for (const double poison : {kNan, kInfinity, -kInfinity, 1e30, -1e13}) {
    CAPTURE(poison);
    const Model made;
    AdamW optimizer(made.model.parameters(), {});
    CHECK(are_sound(made.model.parameters(), optimizer));
    fill(made.element("layer1.ff.w2", {0, 0, 0}), poison);
    CHECK_FALSE(are_sound(made.model.parameters(), optimizer));
    fill(made.element("layer1.ff.w2", {0, 0, 0}), 1);
    for (const Tensor& moment : {optimizer.state("m").values(), optimizer.state("v").values()}) {
      const double too_much =
          std::abs(poison) == 1e13 && moment.same_view(optimizer.state("v").values()) ? 1e25 : poison;
      fill(moment.strided({}, {}, 3), too_much);
      CHECK_FALSE(are_sound(made.model.parameters(), optimizer));
      fill(moment.strided({}, {}, 3), 1e10);
      CHECK(are_sound(made.model.parameters(), optimizer));
    }
  }
}

TEST_CASE("not finite: checkpoints with such weights or moments are refused by name") {
  for (const double poison : {kNan, kInfinity}) {
    const TemporaryDirectory folder;
    const Model made;
    AdamW optimizer(made.model.parameters(), {});
    fill(made.element("layer0.ff.w2", {2, 4, 1}), poison);
    const std::string path = save_checkpoint(folder.path(), made.config, made.model.parameters(), optimizer, {});
    const Model back;
    const std::string expected = fmt::format(
        "{}/model.safetensors: the tensor layer0.ff.w2 is {} at [2, 4, 1], in expert 2: these weights compute nothing; "
        "name an earlier checkpoint of the run (to resume from it, remove this one), or train it again",
        path, poison);
    CHECK(message_of([&] { load_parameters(path, back.model.parameters()); }) == expected);
    TrainingState state;
    CHECK(message_of([&] { load_checkpoint(path, back.model.parameters(), optimizer, state); }) == expected);

    fill(made.element("layer0.ff.w2", {2, 4, 1}), 0);
    fill(made.model.parameters().view_in(optimizer.state("v").values(), made.model.parameters().at("output.bias")),
         poison);
    const std::string other = save_checkpoint(folder.path(), made.config, made.model.parameters(), optimizer, {});
    load_parameters(other, back.model.parameters());  // whoever only reads does not mind
    AdamW into(back.model.parameters(), {});
    const std::string message = message_of([&] { load_checkpoint(other, back.model.parameters(), into, state); });
    CHECK(contains(message, fmt::format("optimizer.safetensors: the tensor v.output.bias is {} at [0]", poison)));
  }
}

TEST_CASE("not finite: with WEIR_CHECK_FINITE=1 a step ends at the first such tensor, with its op and place") {
  const Model made;
  fill(made.model.parameters().at("layer1.ff.w1").value.detach(), kNan);
  const std::vector<double> tokens = {0, 1, 2, 3, 4, 5, 6, 0};
  const Tensor ids = Tensor::from_values({2, 4}, tokens, DType::int32);
  const auto step = [&] {
    TrainingStep update(made.config, made.model);
    std::vector<Memory> memories;
    return update([&](std::int64_t) { return Batch{ids, ids}; }, memories, 0, 1e-3, false);
  };
  CHECK_FALSE(step().applied);
  setenv("WEIR_CHECK_FINITE", "1", 1);
  std::string message;
  try {
    step();
  } catch (const RunError& error) {
    CHECK(error.code() == ExitCode::diverged);
    message = error.what();
  }
  unsetenv("WEIR_CHECK_FINITE");
  CAPTURE(message);
  CHECK(message.starts_with("the output of expert_feedforward (layer1.ff."));
  CHECK(contains(message, " elements; the run ends here since WEIR_CHECK_FINITE=1"));
}
