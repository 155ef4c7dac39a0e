// Where values come from, and which of them give way: limits, warm-up, data paths, vocabulary.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/config.h"
#include "train/data_paths.h"
#include "train/dataset.h"
#include "train/schedule.h"

using namespace weir;

namespace {

using Overrides = std::vector<std::string>;

struct Limits {
  std::int64_t steps, tokens;
  double minutes;
  bool operator==(const Limits&) const = default;
};

Limits limits(const Config& c) { return {c.train.steps, c.train.tokens, c.train.minutes}; }

Limits quickstart(const Overrides& overrides) { return limits(load_config("quickstart", overrides)); }

Notes notes_of(const Overrides& overrides) {
  Notes notes;
  load_config("quickstart", overrides, &notes);
  return notes;
}

}  // namespace

TEST_CASE("sources: a limit that is given replaces those of the preset") {
  CHECK(quickstart({}) == Limits{0, 0, 1.5});
  CHECK(quickstart({"train.steps=5000"}) == Limits{5000, 0, 0});
  CHECK(quickstart({"train.tokens=1e6"}) == Limits{0, 1'000'000, 0});
  CHECK(quickstart({"train.minutes=3"}) == Limits{0, 0, 3});
  CHECK(quickstart({"train.steps=5000", "train.minutes=3"}) == Limits{5000, 0, 3});
  CHECK(quickstart({"train.steps=0", "train.seed=2"}) == Limits{0, 0, 1.5});  // 0 is no limit
  CHECK(notes_of({}).empty());
  CHECK(notes_of({"train.minutes=3"}).empty());
  CHECK(notes_of({"train.steps=5000"}) ==
        Notes{"train.minutes = 1.5 (preset quickstart) does not limit this run: train.steps = 5000 takes its place"});
  CHECK(limits(load_config("wt103-small-dense", Overrides{"train.minutes=60"})) == Limits{0, 0, 60});
}

TEST_CASE("sources: limits of a file count beside those of the command line") {
  const std::string on_preset = "preset = \"quickstart\"\n[train]\nsteps = 700\n";
  CHECK(limits(parse_config(on_preset, "f.toml")) == Limits{700, 0, 0});
  CHECK(limits(parse_config(on_preset, "f.toml", Overrides{"train.minutes=2"})) == Limits{700, 0, 2});
  // A stored configuration is complete: what is in it nobody gave now.
  Notes notes;
  const std::string stored = to_toml(load_config("quickstart"));
  CHECK(limits(parse_stored_config(stored, "run/config.toml", Overrides{"train.steps=9"}, &notes)) == Limits{9, 0, 0});
  REQUIRE(notes.size() == 2);
  CHECK(notes[0].starts_with("train.minutes = 1.5 (run/config.toml) does not limit"));
  CHECK(limits(parse_config(stored, "f.toml", Overrides{"train.steps=100"})) == Limits{100, 0, 1.5});
}

TEST_CASE("sources: the warm-up of a preset is shortened to a tenth of a run that it would outlast") {
  const auto warmup = [](const Overrides& overrides) {
    return load_config("quickstart", overrides).optimizer.warmup_steps;
  };
  CHECK(warmup({"train.steps=51"}) == 50);
  CHECK(warmup({"train.steps=50"}) == 5);
  CHECK(warmup({"train.steps=3", "train.minutes=0"}) == 0);
  CHECK(warmup({"train.tokens=61440"}) == 3);  // 30 steps of 16 x 128
  CHECK(notes_of({"train.steps=3", "train.minutes=0"}) ==
        Notes{"optimizer.warmup_steps = 50 (preset quickstart) becomes 0, a tenth of the run's 3 steps"});
  const auto refused = [](const Overrides& overrides) {
    return error_message([&] { load_config("quickstart", overrides); });
  };
  CHECK(refused({"train.steps=40", "optimizer.warmup_steps=40"}) ==
        "optimizer.warmup_steps = 40 (command line) leaves nothing of train.steps = 40 (command line): make the "
        "warm-up shorter than the run");
  CHECK(
      refused({"train.tokens=61440", "optimizer.warmup_steps=30"}).find("30 steps of train.tokens = 61440 (command") !=
      std::string::npos);
}

TEST_CASE("sources: the limit that a run has reached") {
  const TrainConfig train{.steps = 10, .tokens = 1000, .minutes = 2};
  const auto reached = [&](std::int64_t step, double seconds) {
    const auto limit = reached_limit(train, 64, step, seconds);
    return limit ? limit->text() : "";
  };
  CHECK(reached(9, 119.9) == "");
  CHECK(reached(10, 0) == "train.steps = 10");
  CHECK(reached(16, 120) == "train.steps = 10");
  CHECK(reached(3, 120) == "train.minutes = 2");
  const TrainConfig by_tokens{.tokens = 1000};
  CHECK(!reached_limit(by_tokens, 64, 15, 1e9));
  CHECK(reached_limit(by_tokens, 64, 16, 0)->text() == "train.tokens = 1000");
}

TEST_CASE("sources: relative data paths start where they were written") {
  const TemporaryDirectory directory;
  const std::string folder = std::filesystem::canonical(directory.path());
  const std::string here = std::filesystem::current_path();
  std::ofstream(folder + "/mine.toml") << "preset = \"quickstart\"\n[data]\ntrain = \"book.txt\"\nvalid = \"v.txt\"\n";
  const auto data = [&](const Overrides& overrides) { return load_config(folder + "/mine.toml", overrides).data; };
  CHECK(data({}).folder == folder);
  CHECK(data_path(data({}), data({}).train) == folder + "/book.txt");
  CHECK(data_path(data({}), "/absolute") == "/absolute");
  const DataConfig mixed = data({"data.train=other.txt"});
  CHECK(mixed.folder == here);
  CHECK(data_path(mixed, mixed.train) == "other.txt");  // short where it can be
  CHECK(data_path(mixed, mixed.valid) == folder + "/v.txt");
  CHECK(data({"data.folder=" + folder + "/deep", "data.train=x"}).folder == folder + "/deep");
  CHECK(data({"data.train=/a", "data.valid=/b"}).folder == "");
  CHECK(load_config("quickstart", Overrides{"data.train=a.txt"}).data.folder == here);
  // Stored ones are complete, and a checkpoint's folder means nothing.
  const Config stored = load_config(folder + "/mine.toml");
  CHECK(parse_stored_config(to_toml(stored), "elsewhere/state.json") == stored);
}

TEST_CASE("sources: the data of a run is found after a move") {
  const TemporaryDirectory directory;
  const std::string folder = std::filesystem::canonical(directory.path());
  std::filesystem::create_directories(folder + "/run");
  std::ofstream(folder + "/run/text") << "text";
  const DataConfig data{.train = folder + "/run/text", .valid = ""};
  const DataConfig kept = relative_to_run(data, folder + "/run/");
  CHECK(kept.train == "text");
  CHECK(kept.folder == folder + "/run");
  CHECK(relative_to_run({.train = folder + "/other", .valid = ""}, folder + "/run").train == folder + "/other");
  CHECK(found_data(kept, folder + "/run") == kept);
  std::filesystem::rename(folder + "/run", folder + "/moved");
  CHECK(found_data(kept, folder + "/moved").folder == folder + "/moved");
  const std::string message = error_message([&] { found_data(kept, folder + "/nowhere", "or buy it"); });
  CHECK(message.starts_with("text: the data of " + folder + "/nowhere is not there any more; looked in " + folder +
                            "/run, " + folder + "/nowhere, " + folder + ", " +
                            std::filesystem::current_path().string()));
  CHECK(message.ends_with("; put it back, or buy it"));
  // A project that moved with its data and its runs: the text lies beside the run, or beside runs/.
  std::filesystem::create_directories(folder + "/project/runs/run");
  std::filesystem::create_directories(folder + "/project/run");
  std::ofstream(folder + "/project/text") << "text";
  for (const char* run : {"/project/run", "/project/runs/run"})
    CHECK(found_data(kept, folder + run).folder == folder + "/project");
}

TEST_CASE("sources: a setting that has no effect beside the others is noted, with the reason") {
  const TemporaryDirectory folder;
  std::ofstream(folder / "dataset.json") << "{}";
  const std::string prepared = "data.train=" + folder.path();
  const auto noted = [](const Overrides& overrides) {
    Notes notes;
    load_config("quickstart", overrides, &notes);
    CHECK(notes.size() <= 1);
    return notes.empty() ? "" : notes.back();
  };
  CHECK(noted({"feedforward.d_ff=100"}) == "feedforward.d_ff (command line) has no effect: feedforward.kind = moe");
  CHECK(noted({"feedforward.kind=dense", "feedforward.d_ff=100"}) == "");
  CHECK(noted({"feedforward.kind=dense", "feedforward.k=1"}).ends_with("has no effect: feedforward.kind = dense"));
  CHECK(noted({"feedforward.kind=pkm", "feedforward.k=1"}) == "");
  CHECK(noted({"feedforward.kind=pkm", "feedforward.activation=softmax"}) == "");
  CHECK(noted({"feedforward.activation=softmax"}).ends_with("has no effect: feedforward.kind = moe"));
  CHECK(noted({"model.attention_k=1"}).ends_with("has no effect: model.attention = relative"));
  CHECK(noted({"optimizer.schedule=constant", "optimizer.decay_steps=5"}) ==
        "optimizer.decay_steps (command line) has no effect: optimizer.schedule = constant");
  CHECK(noted({"data.valid=a", "data.valid_fraction=0.1"}).ends_with("has no effect: data.valid is set"));
  CHECK(noted({prepared, "data.encoding=bytes"}).ends_with("has no effect: data.train is prepared data"));
  CHECK(noted({"data.train=book.txt", "data.encoding=bytes"}) == "");
}

TEST_CASE("sources: each setting of a feedforward is read by some kind, and what a kind reads is a setting") {
  FeedforwardConfig config;
  std::set<std::string> there, read;
  for (const Field& field : fields_of(config).fields)
    if ("feedforward." + field.name != FeedforwardKind::setting) there.insert(field.name);
  for (const auto& entry : registry<FeedforwardKind>().entries()) read.insert(entry.reads.begin(), entry.reads.end());
  CHECK(read == there);
}

TEST_CASE("sources: the vocabulary follows the data until it is set") {
  const TemporaryDirectory folder;
  const std::string data = "data.train=" + folder.path();
  const auto vocabulary = [](const Overrides& overrides) {
    return load_config("quickstart", overrides).model.vocabulary;
  };
  CHECK(vocabulary({}) == 256);
  CHECK(vocabulary({data}) == 256);
  Dataset dataset{.name = "n", .tokenizer = "n.model", .vocabulary = 777, .splits = {}, .source = {}};
  dataset.splits["train"] = {
      .tokens = 3, .bytes = {}, .words = {}, .shards = {{"a.tokens", 3, std::string(32, '0')}}, .mended = {}};
  write_dataset(folder.path(), dataset);
  CHECK(vocabulary({data}) == 777);
  CHECK(vocabulary({data, "model.vocabulary=256"}) == 256);
  CHECK(load_config("wt103-small-dense", Overrides{data}).model.vocabulary == 8000);
  std::ofstream(folder / "dataset.json") << "{";
  CHECK(vocabulary({data}) == 256);
}

TEST_CASE("sources: settings in which two configurations differ") {
  Config before = load_config("quickstart"), after = before;
  CHECK(changed_settings(before, after).empty());
  after.optimizer.lr = 0.5;
  after.train.seed = 9;
  const auto changes = changed_settings(before, after);
  REQUIRE(changes.size() == 2);
  CHECK(changes[0].key == "train.seed");
  CHECK((changes[1].key == "optimizer.lr" && changes[1].before == "0.003" && changes[1].after == "0.5"));
}
