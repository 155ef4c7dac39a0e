// The decoder with rotary positions: its cache against a full pass, its settings, and a run with it. What it computes
// is compared with PyTorch in tests/reference.
#include <doctest/doctest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "autograd/autograd.h"
#include "models/gpt.h"
#include "models/model_cost.h"
#include "ops/cross_entropy.h"
#include "ops/sum.h"
#include "tensor_checks.h"
#include "train/config.h"
#include "train/generate.h"
#include "train/tokenizer/tokenizer.h"
#include "train/training_step.h"

using namespace weir;

namespace {

Config gpt_config(const std::string& kind, const std::vector<std::string>& more = {}) {
  std::vector<std::string> settings = {
      "model.kind=gpt",      "model.vocabulary=256",    "model.d_model=16",          "model.layers=2",
      "model.heads=2",       "model.head_size=8",       "model.segment=12",          "model.memory=0",
      "feedforward.d_ff=24", "feedforward.experts=4",   "feedforward.expert_size=8", "feedforward.sub_keys=4",
      "train.steps=10",      "feedforward.kind=" + kind};
  settings.insert(settings.end(), more.begin(), more.end());
  return parse_config("", "test.toml", settings);
}

Tensor some_ids(std::int64_t batch, std::int64_t length) {
  std::vector<double> ids(static_cast<std::size_t>(batch * length));
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<double>((i * i * 7 + 3 * i + 1) % 256);
  return Tensor::from_values({batch, length}, ids, DType::int32);
}

std::string refusal(const std::vector<std::string>& settings) {
  return error_message([&] { gpt_config("gelu", settings); });
}

}  // namespace

TEST_CASE("gpt: piece by piece with the cache, as in one pass") {
  const NoGradient guard;
  for (const char* kind : {"dense", "gelu", "swiglu", "top-k", "moe", "pkm"})
    for (const char* norm : {"layer", "rms"}) {
      CAPTURE(kind);
      CAPTURE(norm);
      const Config config = gpt_config(kind, {std::string("gpt.norm=") + norm});
      const auto model = make_language_model(config.model, config.feedforward);
      model->initialise(3, DType::float64);
      const Tensor ids = some_ids(2, 12);
      const Tensor whole = (*model)(ids, {}, 0, {}).logits;
      Memory memory;
      for (const auto& [begin, end] : std::vector<std::pair<int, int>>{{0, 5}, {5, 6}, {6, 7}, {7, 12}}) {
        LanguageModelOutput out = (*model)(clone(slice_view(ids, 1, begin, end)), memory, 12, {});
        CHECK(max_difference(out.logits, slice_view(whole, 1, begin, end)) < 1e-12);
        memory = std::move(out.memory);
        CHECK(memory.length() == end);
        CHECK(memory.layers[1].shape() == model->memory_shapes(2, end)[1]);
      }
    }
}

TEST_CASE("gpt: greedy text with the cache is that of full passes, token for token") {
  const Config config = gpt_config("moe");
  const auto model = make_language_model(config.model, config.feedforward);
  model->initialise(5);
  const ByteTokenizer tokenizer;
  const std::string text = generate(*model, tokenizer, "ab", {.tokens = 10, .temperature = 0});
  std::vector<std::int32_t> tokens = {'a', 'b'};
  const NoGradient guard;
  for (int made = 0; made < 10; ++made) {
    const std::vector<double> ids(tokens.begin(), tokens.end());
    const Tensor logits = (*model)(Tensor::from_values({1, std::ssize(ids)}, ids, DType::int32), {}, 0, {}).logits;
    const auto last = slice_view(logits, 1, std::ssize(ids) - 1, std::ssize(ids)).values();
    tokens.push_back(static_cast<std::int32_t>(std::max_element(last.begin(), last.end()) - last.begin()));
  }
  CHECK(text == tokenizer.decode(std::span(tokens).subspan(2)));
}

TEST_CASE("gpt: a memory of the segment before is seen in training too, without gradient into it") {
  const Config config = gpt_config("gelu", {"model.memory=12"});
  const auto model = make_language_model(config.model, config.feedforward);
  model->initialise(3);
  const Tensor ids = some_ids(2, 24), first = clone(slice_view(ids, 1, 0, 12)),
               second = clone(slice_view(ids, 1, 12, 24));
  const Memory memory = (*model)(first, {}, 12, {.training = true}).memory;
  CHECK_FALSE(requires_gradient(memory.layers[0]));
  const NoGradient guard;
  const Tensor with = (*model)(second, memory, 12, {}).logits, without = (*model)(second, {}, 12, {}).logits;
  CHECK(max_difference(with, without) > 1e-3);
  CHECK(max_difference(with, slice_view((*model)(ids, {}, 0, {}).logits, 1, 12, 24)) < 1e-5);
}

TEST_CASE("gpt: activations that are computed again give the same gradients") {
  for (const char* kind : {"gelu", "moe"}) {
    CAPTURE(kind);
    std::vector<std::vector<double>> gradients;
    for (const char* again : {"false", "true"}) {
      const Config config = gpt_config(
          kind, {std::string("model.checkpoint_activations=") + again, "model.dropout=0.1", "gpt.tied=true"});
      const auto model = make_language_model(config.model, config.feedforward);
      model->initialise(3);
      const Tensor ids = some_ids(2, 12);
      model->parameters().zero_gradients();
      backward(cross_entropy((*model)(ids, {}, 0, {.training = true, .seed = 1}).logits, ids));
      gradients.push_back(model->parameters().gradients().values());
    }
    CHECK(gradients[0] == gradients[1]);
  }
}

TEST_CASE("gpt: a tied output has no matrix of its own, and its cost says so") {
  const Config own = gpt_config("gelu"), tied = gpt_config("gelu", {"gpt.tied=true"});
  const ModelCost with = model_cost(own.model, own.feedforward, 4),
                  without = model_cost(tied.model, tied.feedforward, 4);
  CHECK(with.parameters - without.parameters == 256 * 16 + 256);
  CHECK(with.forward_flops_per_token == without.forward_flops_per_token);
  CHECK(without.active_parameters == without.parameters);
  const std::int64_t matrices = 4 * 16 * 16 + 2 * 24 * 16, vectors = 24 + 16 + 4 * 16;  // of a layer
  CHECK(without.parameters == 256 * 16 + 2 * (matrices + vectors) + 2 * 16);
  CHECK(without.forward_flops_per_token == 2 * (256 * 16 + 2 * (matrices + 2 * 16 * 6.5)));
}

TEST_CASE("gpt: settings of the other kind are refused with what to give") {
  CHECK(refusal({"model.attention=switch-head"}).find("model.attention = \"switch-head\"") != std::string::npos);
  CHECK(refusal({"model.attention=switch-head"}).find("give model.attention = \"relative\"") != std::string::npos);
  CHECK(refusal({"model.norm=peri"}).find("give model.norm = \"pre\"") != std::string::npos);
  CHECK(refusal({"model.head_size=7"}).find("make head_size even") != std::string::npos);
  CHECK(refusal({"gpt.norm=batch"}).find("one of layer, rms") != std::string::npos);
  Notes notes;
  const std::vector<std::string> unused = {"gpt.tied=true", "train.steps=10"};
  parse_config("", "test.toml", unused, &notes);
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].starts_with("gpt.tied (command line) has no effect"));
}

TEST_CASE("gpt: values outside their limits are refused wherever a model is made") {
  Config config = gpt_config("gelu");
  const auto refused = [&] { return error_message([&] { make_language_model(config.model, config.feedforward); }); };
  config.model.own.get<GptSettings>().norm = "batch";
  CHECK(refused() == "gpt.norm = \"batch\": give one of layer, rms");
  config.model.own.get<GptSettings>() = {.rotary_base = -1};
  CHECK(refused().starts_with("gpt.rotary_base = -1.0: give "));
  CHECK(error_message([&] { Gpt(config.model, config.feedforward); }) == refused());
}

TEST_CASE("gpt: the same on every device") {
  for (const Device device : available_devices())
    for (const char* kind : {"gelu", "swiglu", "moe"}) {
      CAPTURE(device_name(device));
      CAPTURE(kind);
      const Config config = gpt_config(kind, {"train.batch_size=2", "gpt.norm=rms"});
      const Tensor ids = some_ids(2, 13);
      const Batch batch{clone(slice_view(ids, 1, 0, 12)), clone(slice_view(ids, 1, 1, 13))};
      const auto losses_on = [&](Device place) {
        const auto model = make_language_model(config.model, config.feedforward);
        model->initialise(3, DType::float32, place);
        TrainingStep update(config, *model);
        std::vector<Memory> memories;
        std::vector<double> losses;
        for (std::int64_t step = 0; step < 4; ++step)
          losses.push_back(update([&](std::int64_t) { return batch; }, memories, step, 1e-2, false).loss);
        return losses;
      };
      const std::vector<double> expected = losses_on({}), got = losses_on(device);
      for (std::size_t i = 0; i < 4; ++i) CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-4));
      CHECK(got[3] < got[0]);
    }
}
