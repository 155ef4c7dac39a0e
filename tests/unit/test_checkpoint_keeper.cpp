// What becomes of a run's checkpoints while it trains: failed saves, and which of them stay.
#include <doctest/doctest.h>

#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "core/error.h"
#include "file_size_limit.h"
#include "models/transformer_xl.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/checkpoint_keeper.h"
#include "train/optimizer/adamw.h"

using namespace weir;

namespace {

Config small_config() {
  Config config;
  config.model = {.vocabulary = 5, .d_model = 3, .layers = 1, .heads = 1, .head_size = 3, .segment = 4};
  config.feedforward = {.kind = "dense", .d_ff = 5};
  config.train.steps = 100;
  resolve(config);
  return config;
}

// A run whose saves can be made to fail.
struct Run {
  Run() : model(config.model, config.feedforward) {
    model.initialise(1);
    optimizer.emplace(model.parameters(), AdamW::Settings{});
  }
  void save(std::int64_t step, bool full_disk, CheckpointKeeper::Failure failure = CheckpointKeeper::Failure::warns) {
    TrainingState state;
    state.step = step;
    if (!full_disk) return keeper.save(model.parameters(), *optimizer, state, failure);
    const FileSizeLimit limit(100);
    keeper.save(model.parameters(), *optimizer, state, failure);
  }
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> found;
    for (const CheckpointInfo& info : list_checkpoints(folder / "checkpoints")) found.push_back(info.step);
    return found;
  }

  const TemporaryDirectory folder;
  const Config config = small_config();
  TransformerXl model;
  std::optional<AdamW> optimizer;
  std::vector<std::string> warnings;
  CheckpointKeeper keeper{folder.path(), "RESUME", config, [this](const std::string& w) { warnings.push_back(w); }};
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("checkpoint keeper: a failed save is a warning, and the next one tries again") {
  Run run;
  run.save(10, false);
  run.save(20, true);
  REQUIRE(run.warnings.size() == 1);
  CAPTURE(run.warnings[0]);
  CHECK(contains(run.warnings[0], run.folder / "checkpoints/step_00000020.tmp-"));
  CHECK(contains(run.warnings[0], "of 1456 bytes done): File too large; raise the file size limit (ulimit -f)"));
  CHECK(contains(run.warnings[0],
                 "so step 20 could not be saved (a checkpoint takes about 1.1 MB); training goes on and "
                 "tries again at the next save"));
  CHECK(run.steps() == std::vector<std::int64_t>{10});
  // Nothing half-written either.
  CHECK(std::distance(std::filesystem::directory_iterator(run.folder / "checkpoints"), {}) == 1);
  run.save(30, true);
  run.save(40, false);
  CHECK(run.steps() == std::vector<std::int64_t>{40, 10});
  CHECK(run.keeper.last().step == 40);
  // They count in a row: two more are warnings again.
  run.save(50, true);
  run.save(60, true);
  CHECK(run.warnings.size() == 4);
}

TEST_CASE("checkpoint keeper: three failed saves in a row end the run, and so does one after which none will come") {
  const auto refusal = [](auto&& call) {
    try {
      call();
    } catch (const RunError& error) {
      CHECK(error.code() == ExitCode::io);
      return std::string(error.what());
    }
    return std::string("nothing was thrown");
  };
  Run run;
  run.save(10, false);
  for (const std::int64_t step : {20, 30}) run.save(step, true);
  const std::string third = refusal([&] { run.save(40, true); });
  CAPTURE(third);
  CHECK(third.ends_with("the third time in a row, so training ends at step 40"));
  CHECK(run.keeper.what_there_is() ==
        "the last checkpoint is " + (run.folder / "checkpoints/step_00000010") + "; continue with: RESUME");
  verify_checkpoint(run.folder / "checkpoints/step_00000010");

  Run last;
  const std::string at_the_end = refusal([&] { last.save(100, true, CheckpointKeeper::Failure::ends_the_run); });
  CAPTURE(at_the_end);
  CHECK(at_the_end.ends_with(", and training ends here"));
  CHECK(last.keeper.what_there_is() == "nothing was saved yet; begin anew with: RESUME");
  CHECK(last.warnings.empty());
}

TEST_CASE(
    "checkpoint keeper: a save into a folder that is not the run's any more says that, before and in the middle") {
  Run run;
  int asked = 0, gone_from = 1;
  CheckpointKeeper keeper(
      run.folder.path(), "RESUME", run.config, [](const std::string& w) { FAIL(w); },
      [&] {
        if (++asked >= gone_from) throw RunError(ExitCode::io, "the folder was moved");
      });
  TrainingState state;
  state.step = 10;
  const auto save = [&] {
    const FileSizeLimit limit(100);
    keeper.save(run.model.parameters(), *run.optimizer, state, CheckpointKeeper::Failure::warns);
  };
  CHECK_THROWS_WITH_AS(save(), "the folder was moved", RunError);
  gone_from = 3;
  CHECK_THROWS_WITH_AS(save(), "the folder was moved", RunError);
  CHECK(asked == 3);
  run.save(20, false);
  std::filesystem::rename(run.folder / "checkpoints", run.folder / "moved");
  CHECK(run.keeper.what_there_is() == "");
}

TEST_CASE("checkpoint keeper: a run whose folder was moved saves at its new place, and says what was lost where not") {
  Run run;
  const TemporaryDirectory elsewhere;
  std::string now_at = elsewhere.path();
  CheckpointKeeper keeper(
      run.folder.path(), "RESUME", run.config, [](const std::string& w) { FAIL(w); },
      [&] { throw RunFolderGone("it was moved", now_at); });
  TrainingState state;
  state.step = 10;
  const auto save = [&] {
    keeper.save(run.model.parameters(), *run.optimizer, state, CheckpointKeeper::Failure::warns);
  };
  const auto text = [&] { return keeper.gone_text(RunFolderGone("it was moved", now_at), state.step); };
  CHECK(text() ==
        "it was moved; nothing was saved yet, so what was trained is lost; continue with: weir train --resume " +
            now_at);
  CHECK_THROWS_WITH_AS(save(), "it was moved", RunFolderGone);
  verify_checkpoint(elsewhere / "checkpoints/step_00000010");
  CHECK(text() == "it was moved; step 10, the last one, is saved there; continue with: weir train --resume " + now_at);
  state.step = 20;
  CHECK(text() ==
        "it was moved; what was trained after step 10, the last one that was saved, is lost; continue with: "
        "weir train --resume " +
            now_at);
  now_at.clear();
  CHECK_THROWS_WITH_AS(save(), "it was moved", RunFolderGone);
  CHECK(text() == "it was moved");
}

TEST_CASE("checkpoint keeper: what is no fault of the file system is no warning") {
  Run run;
  TransformerXl other(run.config.model, run.config.feedforward);
  other.initialise(1);
  TrainingState state;
  state.step = 10;
  state.memories.resize(1);
  state.memories[0].layers.resize(1);  // an undefined tensor
  CHECK_THROWS_AS(run.keeper.save(other.parameters(), *run.optimizer, state, CheckpointKeeper::Failure::warns), Error);
  CHECK(run.warnings.empty());
}

TEST_CASE("checkpoint keeper: the way back leads to the newest one, and then to the one before it") {
  Run run;
  TrainingState state;
  CHECK_FALSE(run.keeper.roll_back(run.model.parameters(), *run.optimizer, state));
  for (const std::int64_t step : {10, 20, 30}) run.save(step, false);
  CHECK(run.steps() == std::vector<std::int64_t>{30, 20});
  const auto back = [&] {
    CHECK(run.keeper.roll_back(run.model.parameters(), *run.optimizer, state));
    CHECK(run.keeper.last().step == state.step);
    return state.step;
  };
  CHECK(back() == 30);
  CHECK(back() == 20);  // 30 led to ruin twice
  CHECK(run.steps() == std::vector<std::int64_t>{20});
  CHECK(back() == 20);  // the last one stays
  run.save(40, false);
  CHECK(back() == 40);
  // A state that came back is saved in place of the one that it came back to.
  CHECK(run.keeper.has(state));
  ++state.rollbacks;
  CHECK_FALSE(run.keeper.has(state));
}
