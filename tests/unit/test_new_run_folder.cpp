// Where a new run may begin: nowhere that it would write over what is there.
#include "train/new_run_folder.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <functional>

#include "core/error.h"
#include "core/file.h"
#include "temporary_directory.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

// What is said of a folder that `fill` has put things into; empty where a run may begin in it.
std::string refusal(const std::function<void(const std::string& folder)>& fill, const std::string& data = "") {
  const TemporaryDirectory around;
  const std::string folder = around / "run";
  fs::create_directory(folder);
  fill(folder);
  const DataConfig config{.train = data, .valid = "", .folder = folder};
  try {
    check_new_run_folder(folder, config);
  } catch (const ArgumentError& error) {
    return std::string(error.what()).substr(folder.size());
  }
  return "";
}

auto with_files(std::vector<std::string> names, const std::string& content = "mine") {
  return [names = std::move(names), content](const std::string& folder) {
    for (const std::string& name : names) write_file_synced(folder + "/" + name, content);
  };
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("new run folder: empty, with what a killed process left, or with the run's own configuration and data") {
  CHECK(refusal([](const std::string&) {}) == "");
  CHECK(refusal([](const std::string& folder) { fs::remove(folder); }) == "");
  CHECK(refusal(with_files({"lock"}, "pid 12")) == "");
  CHECK(refusal(with_files({"lock"}, "")) == "");
  CHECK(refusal(with_files({".config.toml.tmp-12", ".gitkeep", "mine.toml"})) == "");
  CHECK(refusal([](const std::string& folder) { fs::create_directory(folder + "/checkpoints"); }) == "");
  CHECK(refusal(with_files({"book.txt"}), "book.txt") == "");
}

TEST_CASE("new run folder: refused with a run, or the checkpoints of one, links to them included") {
  const std::string run = " already holds a run: choose another folder with --run, or continue it with: weir train";
  CHECK(refusal(with_files({"config.toml", "metrics.jsonl"})).starts_with(run));
  CHECK(refusal(with_files({"config.toml", "lock"}, "pid 12")).starts_with(run));
  const auto checkpoint = [](const std::string& folder) { fs::create_directories(folder + "/step_00000010"); };
  CHECK(refusal([&](const std::string& folder) { checkpoint(folder + "/checkpoints"); }).starts_with(run));
  CHECK(refusal([&](const std::string& folder) {
          checkpoint(folder + "/../other");
          fs::create_directory_symlink("../other", folder + "/checkpoints");
        }).starts_with(run));
}

TEST_CASE("new run folder: refused with files that a run would write over") {
  for (const std::string name :
       {"config.toml", "metrics.jsonl", "samples.txt", "tokenizer.model", "tokenizer.json", "events.out.tfevents.1"}) {
    CAPTURE(name);
    CHECK(refusal(with_files({name})) == "/" + name +
                                             ": this file is there already, and a run writes one of that "
                                             "name; choose another folder with --run, or move the file away");
  }
  CHECK(contains(refusal(with_files({"lock"})), "/lock: this file is there already and is no lock of Weir's"));
  CHECK(contains(refusal(with_files({"dataset.json", "tokenizer.model"})), " holds prepared data"));
}

TEST_CASE("new run folder: refused among other things than its own") {
  CHECK(contains(refusal(with_files({"a.txt", "b.txt"}), "a.txt"), " holds other files or folders (b.txt), and a run"));
  CHECK(contains(refusal(with_files({"1", "2", "3", "4", "5"})), " (1, 2, 3 and 2 more)"));
}

TEST_CASE("new run folder: a sweep begins beside other runs, not among texts") {
  const TemporaryDirectory folder;
  fs::create_directories(folder / "run/checkpoints/step_00000010");
  fs::create_directory(folder / "empty");
  write_file_synced(folder / "table.toml", "");
  check_new_sweep_folder(folder.path());
  write_file_synced(folder / "book.txt", "text");
  CHECK_THROWS_WITH_AS(check_new_sweep_folder(folder.path()),
                       doctest::Contains("holds other files or folders (book.txt), and a sweep"), ArgumentError);
}

}  // namespace weir
