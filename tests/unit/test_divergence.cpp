// What becomes of a run whose weights are ruined on the way. tests/divergence.cpp does it two hundred times.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "core/error.h"
#include "core/file.h"
#include "core/parallel.h"
#include "models/transformer_xl.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/optimizer/adamw.h"
#include "train/trainer.h"

using namespace weir;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A text, a tiny model, and sixty steps on it, saved every ten. Models this small are fastest on one thread.
struct Place {
  Place() {
    set_thread_count(1);
    std::ofstream file(folder / "text", std::ios::binary);
    for (int i = 0; i < 6000; ++i) file << "the weir holds back. "[i % 21];
    config.model = {.vocabulary = 256, .d_model = 16, .layers = 2, .heads = 2, .head_size = 8, .segment = 8};
    config.feedforward = {.kind = "moe", .experts = 4, .expert_size = 8, .k = 2};
    config.data.train = folder / "text";
    config.train = {.batch_size = 4, .steps = 60};
    config.train.log_every = 1;
    config.optimizer = {.lr = 1e-2, .clip = 1};
    config.eval.every = config.sample.every = 0;
    config.checkpoint.every = 10;
    resolve(config);
  }
  ~Place() { set_thread_count(threads); }

  std::vector<std::int64_t> steps_saved(const std::string& run) const {
    std::vector<std::int64_t> steps;
    for (const CheckpointInfo& info : list_checkpoints(folder / run + "/checkpoints")) steps.push_back(info.step);
    return steps;
  }

  const int threads = thread_count();
  const TemporaryDirectory folder;
  Config config;
};

// A weight of an expert becomes `poison` before step `step`, at most `times` times.
auto ruin(std::int64_t step, double poison, int times = 1) {
  return [=](const StepInputs& inputs) mutable {
    if (inputs.state.step != step || times-- <= 0) return;
    fill(inputs.parameters.at("layer1.ff.w1").value.strided({}, {}, 5), poison);
  };
}

// From before step `step` to the next, `bias` on a letter that the text does not have makes the loss about as high.
auto spike(std::int64_t step, double bias) {
  return [=](const StepInputs& inputs) {
    const Tensor place = inputs.parameters.at("output.bias").value.strided({}, {}, 'z');
    if (inputs.state.step == step) fill(place, bias);
    if (inputs.state.step == step + 1) fill(place, 0);
  };
}

std::string model_bytes(const std::string& checkpoint) { return read_file(checkpoint + "/model.safetensors", 1 << 24); }

std::vector<std::int64_t> steps_in_metrics(const std::string& run) {
  std::vector<std::int64_t> steps;
  std::ifstream file(run + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);)
    if (line.find("train/loss") != std::string::npos) steps.push_back(std::stoll(line.substr(line.find(':') + 1)));
  return steps;
}

std::string message_of(const auto& call, ExitCode code) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  return "nothing was thrown";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("divergence: a ruined run goes back to its last good checkpoint and ends well") {
  const Place place;
  for (const double poison : {kNan, double{INFINITY}, 1e30}) {
    CAPTURE(poison);
    const RunDirectory run(place.folder / fmt::format("run{}", poison));
    std::int64_t place_before = -1;
    const auto watch_place = [&, ruin_once = ruin(33, poison)](const StepInputs& inputs) mutable {
      ruin_once(inputs);
      const std::int64_t place_now = inputs.state.epoch * 1000 + inputs.state.block;
      CHECK(place_now > place_before);  // the data goes on where the steps go back
      place_before = place_now;
    };
    const TrainingResult result = train(place.config, run, {.quiet = true, .before_step = watch_place});
    CHECK(result.outcome == Outcome::finished);
    CHECK(result.rollbacks == 1);
    CHECK(result.steps == 60);
    CHECK(result.validation.bits_per_byte().value() < 1.5);
    // Each step is in the metrics once.
    std::vector<std::int64_t> expected(60);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<std::int64_t>(i + 1);
    CHECK(steps_in_metrics(run.path()) == expected);
  }
}

TEST_CASE("divergence: without a checkpoint a run goes back to its beginning") {
  Place place;
  place.config.checkpoint.every = 0;
  const RunDirectory run(place.folder / "run");
  const TrainingResult result = train(place.config, run, {.quiet = true, .before_step = ruin(33, kNan)});
  CHECK(result.rollbacks == 1);
  CHECK(result.validation.bits_per_byte().value() < 1.5);
  CHECK(place.steps_saved("run") == std::vector<std::int64_t>{60, 0});
}

TEST_CASE("divergence: a run that was stopped after going back ends with the bits of one that was not") {
  const Place place;
  const RunDirectory whole(place.folder / "whole"), parts(place.folder / "parts");
  const TrainingResult expected = train(place.config, whole, {.quiet = true, .before_step = ruin(33, kNan)});
  for (const std::int64_t stop : {20, 30, 31, 47}) {  // at 30 it stands at the checkpoint that it came back to
    int asked_at_30 = 0;
    const auto should_stop = [&](std::int64_t steps) {
      asked_at_30 += steps == 30;
      return steps == stop && (stop != 30 || asked_at_30 == 2);
    };
    const TrainingResult part = train(
        place.config, parts,
        {.resume = true, .quiet = true, .should_stop = should_stop, .before_step = ruin(33, kNan, stop <= 30 ? 1 : 0)});
    CHECK(part.outcome == Outcome::stopped);
  }
  const TrainingResult result = train(place.config, parts, {.resume = true, .quiet = true});
  CHECK(result.rollbacks == 1);
  CHECK(model_bytes(result.checkpoint) == model_bytes(expected.checkpoint));
  CHECK(result.validation.nats_per_token == expected.validation.nats_per_token);
  CHECK(steps_in_metrics(parts.path()) == steps_in_metrics(whole.path()));
}

TEST_CASE("divergence: what counts as a spike outlives a stop, and older checkpoints do without") {
  // 30 nats are a spike to a run that is known, and none to one that begins.
  Place place;
  place.config.checkpoint.keep_last = 9;
  const RunDirectory whole(place.folder / "whole"), parts(place.folder / "parts");
  std::int64_t skipped = 0;
  const auto count = [&](const StepInputs& inputs) {
    spike(43, 30)(inputs);
    skipped += inputs.state.bad_in_a_row;
  };
  const TrainingResult expected = train(place.config, whole, {.quiet = true, .before_step = count});
  CHECK(skipped == 1);
  const TrainingResult stopped =
      train(place.config, parts, {.quiet = true, .should_stop = [](std::int64_t steps) { return steps == 40; }});
  const TrainingResult resumed =
      train(place.config, parts, {.resume = true, .quiet = true, .before_step = spike(43, 30)});
  CHECK(model_bytes(resumed.checkpoint) == model_bytes(expected.checkpoint));

  // As a version before this one wrote it.
  TrainingState state;
  TransformerXl model(place.config.model, place.config.feedforward);
  model.initialise(1);
  AdamW optimizer(model.parameters(), {});
  load_checkpoint(stopped.checkpoint, model.parameters(), optimizer, state);
  CHECK(state.accepted.losses.size() == 40);
  CHECK(state.accepted.lowest_loss < 3);
  CHECK(state.held_back_nats.value() < 3);
  state.accepted = {};
  state.held_back_nats.reset();
  save_checkpoint(parts.checkpoints(), place.config, model.parameters(), optimizer, state);
  remove_checkpoints_after(parts.checkpoints(), 40);
  const TrainingResult older = train(place.config, parts, {.resume = true, .quiet = true});
  CHECK(older.steps == 60);
  CHECK(older.validation.bits_per_byte().value() < 1.5);
}

TEST_CASE("divergence: ruined weights are never saved, nor are good ones pruned for them") {
  Place place;
  place.config.checkpoint.keep_last = 1;
  // The last update of all, and the last before a save: what it ruins has no step to show it.
  for (const std::int64_t step : {59, 39}) {
    const std::string name = fmt::format("run{}", step);
    const RunDirectory run(place.folder / name);
    int times = 1;
    const auto too_fast = [&](const StepInputs& inputs) {
      if (inputs.state.step == step && times-- > 0) inputs.learning_rate = 30;
    };
    const TrainingResult result = train(place.config, run, {.quiet = true, .before_step = too_fast});
    CHECK(result.rollbacks == 1);
    CHECK(result.validation.bits_per_byte().value() < 1.5);
    CHECK(place.steps_saved(name) == std::vector<std::int64_t>{60});
  }
}

TEST_CASE("divergence: what is said at the end is so, and the cure it names works") {
  const Place place;
  const RunDirectory run(place.folder / "run");
  const std::string message = message_of(
      [&] { train(place.config, run, {.quiet = true, .before_step = ruin(33, kNan, 3)}); }, ExitCode::diverged);
  CAPTURE(message);
  const std::string good = run.checkpoints() + "/step_00000030";
  CHECK(
      contains(message,
               "step 43: 10 steps in a row were skipped or left damaged weights; the last one: its loss is not finite; "
               "repeating the step, the first tensor that is not finite: layer1.ff.w1 is nan at [0, 0, 5], in expert "
               "0; the run"));
  CHECK(contains(message, "the run had gone back 2 times before (train.max_rollbacks = 2)"));
  CHECK(contains(message, "the last good checkpoint is " + good + "; go on from there"));
  CHECK(message.ends_with(": weir train --resume " + run.path() + " optimizer.lr=2e-04"));
  CHECK(place.steps_saved("run").front() == 30);
  Config slower = place.config;
  slower.optimizer.lr = 1e-3;
  const TrainingResult result = train(slower, run, {.resume = true, .quiet = true});
  CHECK(result.steps == 60);
  CHECK(result.rollbacks == 0);  // counted anew, for a setting has changed
  CHECK(result.validation.bits_per_byte().value() < 3);
}

TEST_CASE("divergence: train.max_rollbacks = 0 ends at once") {
  Place place;
  place.config.train.max_rollbacks = 0;
  place.config.checkpoint.every = 0;
  const RunDirectory run(place.folder / "run");
  const std::string message =
      message_of([&] { train(place.config, run, {.quiet = true, .before_step = ruin(33, kNan)}); }, ExitCode::diverged);
  CHECK(contains(message, "no checkpoint was saved before, so begin anew with a lower learning rate"));
  CHECK(place.steps_saved("run").empty());
}

TEST_CASE("divergence: a skipped step leaves nothing behind in weights, moments or memory") {
  const Place place;
  const RunDirectory run(place.folder / "run");
  Tensor weights, first, second;
  std::int64_t skipped = 0;
  std::size_t remembered = 1;
  const auto look = [&](const StepInputs& inputs) {
    if (inputs.state.step == 34) {
      skipped = inputs.state.bad_in_a_row;
      remembered = inputs.state.memories.size();
      CHECK(same_bits(inputs.parameters.values(), weights));
      CHECK(same_bits(inputs.optimizer.state("m").values(), first));
      CHECK(same_bits(inputs.optimizer.state("v").values(), second));
      CHECK(inputs.optimizer.updates() == 33);
    }
    spike(33, 1e8)(inputs);
    if (inputs.state.step == 33) {
      weights = clone(inputs.parameters.values());
      first = clone(inputs.optimizer.state("m").values());
      second = clone(inputs.optimizer.state("v").values());
    }
  };
  const TrainingResult result = train(place.config, run, {.quiet = true, .before_step = look});
  CHECK(skipped == 1);
  CHECK(remembered == 0);
  CHECK(result.rollbacks == 0);
  CHECK(result.validation.bits_per_byte().value() < 1.5);
}
