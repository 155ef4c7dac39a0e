// What a request for a run means, and the room that it needs.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/disk_space.h"
#include "train/run_lookup.h"
#include "train/run_names.h"
#include "train/run_plan.h"

using namespace weir;

namespace {

// In a folder of its own, with runs in it.
struct Place {
  TemporaryDirectory folder;
  std::filesystem::path before = std::filesystem::current_path();

  Place() { std::filesystem::current_path(folder.path()); }
  ~Place() { std::filesystem::current_path(before); }

  static void begin(const std::string& run, const std::vector<std::string>& overrides = {}) {
    const RunPlan plan = plan_run({.what = "quickstart", .overrides = overrides, .run = run, .resume = false});
    std::filesystem::create_directories(run);
    std::ofstream(run + "/config.toml") << to_toml(plan.config);
    std::ofstream(run + "/lock") << "";
  }
};

RunPlan resume(const std::string& what, const std::vector<std::string>& overrides = {}, const std::string& run = "") {
  return plan_run({.what = what, .overrides = overrides, .run = run, .resume = true});
}

std::string refused(const RunRequest& request) {
  return error_message([&] { plan_run(request); });
}

}  // namespace

TEST_CASE("run plans: each way to name a run to resume") {
  const Place place;
  std::ofstream("book.txt") << "text";
  Place::begin("runs/quickstart", {"data.train=book.txt", "train.seed=7"});
  Place::begin("runs/mine", {"data.train=book.txt", "train.seed=8", "name=mine"});
  Place::begin("here", {"data.train=book.txt", "train.seed=9", "name=here"});
  for (const RunPlan& plan : {resume("quickstart"), resume("runs/quickstart"), resume("", {}, "runs/quickstart"),
                              resume("runs/quickstart", {}, "./runs/quickstart/"), resume("quickstart", {}, "")}) {
    CHECK(std::filesystem::equivalent(plan.run, "runs/quickstart"));
    CHECK(plan.config.train.seed == 7);
    CHECK(plan.config.data.train == "book.txt");
  }
  Place::begin("runs/lr=3", {"data.train=book.txt", "train.seed=4"});
  CHECK(resume("runs/lr=3").config.train.seed == 4);
  CHECK(resume_command("runs/lr=3") == "weir train --resume runs/lr=3");
  CHECK(resume_command("-my run", "cuda:1") == "weir train --resume './-my run' --device cuda:1");
  CHECK(resume("mine").config.train.seed == 8);
  CHECK(resume("here").config.train.seed == 9);
  CHECK(resume("train.seed=3", {"train.steps=60"}, "here").config.train.seed == 3);
  CHECK(resume("here", {"train.steps=60"}).config.train.steps == 60);
  // Where nothing was begun it begins.
  CHECK(resume("quickstart-dense").run == "runs/quickstart-dense");
  CHECK(resume("quickstart", {}, "other").config.train.seed == 1);
}

TEST_CASE("run plans: what does not say which run is meant") {
  const Place place;
  std::ofstream("book.txt") << "text";
  Place::begin("runs/mine", {"data.train=book.txt", "name=mine"});
  CHECK(refused({.what = "mine", .overrides = {}, .run = "", .resume = false}) ==
        "there is no preset \"mine\", but runs/mine is the folder of a run; continue it with: weir train --resume "
        "runs/mine");
  CHECK(refused({.what = "runs/mine", .overrides = {}, .run = "", .resume = false}) ==
        "runs/mine is the folder of a run; continue it with: weir train --resume runs/mine");
  CHECK(refused({.what = "quickstart", .overrides = {}, .run = "runs/mine", .resume = true})
            .starts_with("runs/mine holds the run \"mine\", not \"quickstart\": choose another folder"));
  CHECK(refused({.what = "runs/mine", .overrides = {}, .run = "runs/other", .resume = true})
            .starts_with("two runs are named, runs/mine and --run runs/other"));
  CHECK(refused({.what = "runs/none", .overrides = {}, .run = "", .resume = true})
            .starts_with("runs/none: there is no such folder"));
  CHECK(refused({.what = "", .overrides = {}, .run = "runs", .resume = true})
            .starts_with("runs: this is a folder of runs; name one of them, such as runs/mine"));
  CHECK(refused({.what = "", .overrides = {}, .run = "", .resume = true}).find("--resume FOLDER") != std::string::npos);
  CHECK(refused({.what = "mien", .overrides = {}, .run = "", .resume = true}) ==
        "there is no run \"mien\", neither here nor below runs/; did you mean mine?; name the folder of the run: 'weir "
        "train --resume FOLDER'");
  CHECK(
      refused({.what = "runs/mine/checkpoints", .overrides = {}, .run = "", .resume = true}).find("there is no such") !=
      std::string::npos);
  std::filesystem::create_directories("runs/mine/checkpoints/step_00000001");
  for (const char* part : {"runs/mine/checkpoints", "runs/mine/checkpoints/step_00000001", "runs/mine/checkpoints/"})
    CHECK(refused({.what = part, .overrides = {}, .run = "", .resume = true}).find("part of a run") !=
          std::string::npos);
  CHECK(refused({.what = "data.train=book.txt", .overrides = {}, .run = "", .resume = false})
            .ends_with("such as: weir train quickstart data.train=book.txt"));
  CHECK(refused({.what = "book.txt", .overrides = {}, .run = "", .resume = false})
            .ends_with(": weir train quickstart data.train=book.txt"));
  CHECK(refused({.what = "quickstart", .overrides = {"book.txt"}, .run = "", .resume = false})
            .ends_with("to train on it, write data.train=book.txt"));
}

TEST_CASE("run plans: the configuration of a run begins another one where --run names its folder") {
  const Place place;
  std::ofstream("book.txt") << "text";
  Place::begin("runs/mine", {"data.train=book.txt", "train.seed=8", "name=mine"});
  std::filesystem::create_directories("runs/mine/checkpoints");
  const RunRequest again{.what = "runs/mine/config.toml", .overrides = {}, .run = "runs/again", .resume = false};
  CHECK(plan_run(again).run == "runs/again");
  CHECK(plan_run(again).config.train.seed == 8);
  CHECK(
      refused({.what = "runs/mine/config.toml", .overrides = {}, .run = "", .resume = false}) ==
      "runs/mine/config.toml: this is the configuration of the run in runs/mine; begin another run with it with --run "
      "FOLDER, or continue that one with: weir train --resume runs/mine");
}

TEST_CASE("run look-up: every command finds a run by its folder, its configuration, or its name below runs/") {
  const Place place;
  std::ofstream("book.txt") << "text";
  for (const char* run : {"runs/mine", "runs/quickstart", "runs/table/a-seed1", "runs/table/b-seed1"})
    Place::begin(run, {"data.train=book.txt"});
  std::filesystem::create_directories("runs/mine/checkpoints/step_00000012");
  std::filesystem::create_directories("empty");
  for (const char* what : {"mine", "runs/mine", "runs/mine/config.toml"}) CHECK(run_to_read(what) == "runs/mine");
  CHECK(run_to_read("quickstart") == "runs/quickstart");
  CHECK(run_named("book.txt") == "");
  const auto said = [](const std::string& what) { return error_message([&] { run_to_read(what); }); };
  CHECK(said("mien") ==
        "there is no run \"mien\", neither here nor below runs/; did you mean mine?; name the folder of a run or of a "
        "checkpoint");
  CHECK(said("quickstart-dense") ==
        "there is no run \"quickstart-dense\", neither here nor below runs/; the preset of that name is trained with: "
        "weir train quickstart-dense");
  CHECK(said("runs/none") == "runs/none: there is no such folder; name the folder of a run or of a checkpoint");
  CHECK(said("empty") == "empty: there is no run in this folder; name the folder of a run or of a checkpoint");
  CHECK(said("book.txt").starts_with("book.txt: this is a file, expected the folder of a run; "));
  CHECK(said("runs/table") == "runs/table: this is a folder of runs; name one of them, such as runs/table/a-seed1");
  for (const std::string part : {"runs/mine/checkpoints", "runs/mine/checkpoints/step_00000012"})
    CHECK(said(part) == part +
                            ": this is a part of a run and no whole checkpoint; name the run, runs/mine, or its newest "
                            "checkpoint, runs/mine/checkpoints/step_00000012");
  std::filesystem::current_path("runs/mine/checkpoints");
  CHECK(said(".").find("name the run, " + place.folder.path() + "/runs/mine, or") != std::string::npos);
}

TEST_CASE("run look-up: a file of a run is read through no link") {
  const Place place;
  std::ofstream("mine.jsonl") << "mine";
  Place::begin("run");
  CHECK(run_file("run", "metrics.jsonl") == "run/metrics.jsonl");
  std::filesystem::create_symlink("../mine.jsonl", "run/metrics.jsonl");
  CHECK(error_message([] { run_file("run", "metrics.jsonl"); }) ==
        "run/metrics.jsonl: this is a symbolic link, where a run has a regular file; put the file itself there");
}

TEST_CASE("disk space: what a run will need") {
  Config config = load_config("quickstart", std::vector<std::string>{"train.steps=1000"});
  const DiskNeed need = disk_need(config);
  CHECK(need.checkpoints == 4);  // two newest, the best, the one being written
  // Weights and two moments, and the memory of 4 layers x 16 streams x 128 tokens x 128; a megabyte for the rest.
  const std::uint64_t embeddings = 2 * 256 * 128;
  CHECK(need.checkpoint > 4 * (3 * embeddings + 4 * 16 * 128 * 128));
  config.checkpoint.every = config.eval.every = 0;
  CHECK(disk_need(config).checkpoints == 1);
  config.checkpoint.every = 600;
  CHECK(disk_need(config).checkpoints == 2);
  // What makes them fewer, where there is such a setting.
  CHECK(need.fewer == "lower checkpoint.keep_last, and set checkpoint.keep_best=false where that is not enough");
  config.checkpoint.keep_last = 1;
  CHECK(disk_need(config).fewer == "");
  config.eval.every = 10;
  CHECK(disk_need(config).fewer == "set checkpoint.keep_best=false");
}

TEST_CASE("disk space: refused where no checkpoint fits, warned where some do not") {
  DiskNeed need{.checkpoint = 100'000'000, .checkpoints = 4, .fewer = "lower checkpoint.keep_last"};
  const auto warning = [&](std::uint64_t free, std::uint64_t taken) {
    return disk_warning(need, {.run = "runs/r", .free_bytes = free, .taken_bytes = taken});
  };
  CHECK(warning(402'000'000, 0) == "");
  CHECK(warning(202'000'000, 200'000'000) == "");
  const std::string few =
      "runs/r: 4 checkpoints of 100 MB each will be there at a time (those that are kept, and the next one while it is "
      "written), but only 3 have room (302 MB free): free some space";
  CHECK(warning(302'000'000, 0) == few + ", or lower checkpoint.keep_last");
  CHECK(warning(150'000'000, 0).ends_with("but only 1 has room (150 MB free): free some space"));
  need.fewer.clear();
  CHECK(warning(302'000'000, 0) == few);
  const std::string none =
      "runs/r: 101 MB have to be free there, but only 99 MB are: 100 MB for the next checkpoint, which is written "
      "whole "
      "before an older one goes, and 1.0 MB for metrics and samples; free some space, or ";
  CHECK(error_message([&] { warning(99'000'000, 300'000'000); }) == none + "choose another folder with --run");
  const DiskPlace begun{.run = "runs/r", .begun = true, .free_bytes = 99'000'000};
  CHECK(error_message([&] { disk_warning(need, begun); }) ==
        none + "move the folder to another disk and resume the run there");
}
