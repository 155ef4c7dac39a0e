#include "train/run_lookup.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/checkpoint.h"
#include "train/data_paths.h"
#include "train/presets.h"
#include "train/run_names.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_bare(const std::string& name) { return name.find('/') == std::string::npos; }

// The run that a folder of checkpoints, or one of them, belongs to; empty where there is none.
std::string run_around(const std::string& folder) {
  for (fs::path path : {fs::path(folder).lexically_normal(), fs::path(real_folder(folder))}) {
    if (!path.has_filename()) path = path.parent_path();  // "runs/x/checkpoints/"
    if (path.filename() != "checkpoints") path = path.parent_path();
    const std::string run = path.parent_path().string();
    if (path.filename() == "checkpoints" && holds_run(run)) return run;
  }
  return "";
}

// The folders of runs in a folder, in the order of their names; for messages, so what cannot be looked at is none.
std::vector<std::string> runs_in(const std::string& folder) {
  std::vector<std::string> runs;
  std::error_code ignored, unseen;
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored))
    if (fs::exists(entry->path() / "config.toml", unseen) || fs::is_directory(entry->path() / "checkpoints", unseen))
      runs.push_back(entry->path().string());
  std::sort(runs.begin(), runs.end());
  return runs;
}

[[noreturn]] void refuse_part(const std::string& what, const std::string& run, RunUse use) {
  const std::string name = printable(what, 4096);
  if (use == RunUse::resume)
    throw ArgumentError(fmt::format("{}: this is a part of a run, which goes on from its newest checkpoint with: {}",
                                    name, resume_command(run)));
  if (is_there(what + "/MANIFEST.json"))
    throw ArgumentError(
        fmt::format("{}: this is a checkpoint, and a run is wanted; name the run, {}", name, shell_word(run)));
  const std::vector<CheckpointInfo> all = list_checkpoints(run + "/checkpoints");
  throw ArgumentError(fmt::format("{}: this is a part of a run and no whole checkpoint; name the run, {}{}", name,
                                  shell_word(run),
                                  all.empty() ? "" : ", or its newest checkpoint, " + shell_word(all.front().path)));
}

// Of a word that is no path: what there is with a similar name, or a preset of that name.
std::string instead_of_name(const std::string& name, RunUse use) {
  if (is_preset(name)) return fmt::format("; the preset of that name is trained with: weir train {}", shell_word(name));
  std::vector<std::string> known = use == RunUse::resume ? preset_names() : std::vector<std::string>();
  for (const char* const place : {"runs", "."})
    for (const std::string& run : runs_in(place)) known.push_back(fs::path(run).filename().string());
  std::sort(known.begin(), known.end());
  return did_you_mean(name, known) + (use == RunUse::resume
                                          ? "; name the folder of the run: 'weir train --resume FOLDER'"
                                          : "; name the folder of a run or of a checkpoint");
}

}  // namespace

bool holds_run(const std::string& folder) {
  if (folder.empty()) return false;
  return is_there(folder + "/config.toml") ||  // whoever reads it says what else it may be
         !list_checkpoints(folder + "/checkpoints").empty();
}

bool is_preset(const std::string& name) {
  const std::vector<std::string> names = preset_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string run_named(const std::string& what) {
  if (holds_run(what)) return what;
  const fs::path path = what, folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (path.filename() == "config.toml" && is_folder(folder / "checkpoints")) return folder.string();
  return is_bare(what) && holds_run("runs/" + what) ? "runs/" + what : "";
}

void refuse_no_run(const std::string& what, RunUse use) {
  const bool there = is_there(what), folder = is_folder(what);
  if (!there && is_bare(what))
    throw ArgumentError(fmt::format("there is no run {}, neither here nor below runs/{}", quote_short(what),
                                    instead_of_name(what, use)));
  if (const std::string run = folder ? run_around(what) : ""; !run.empty()) refuse_part(what, run, use);
  const std::vector<std::string> runs = folder ? runs_in(what) : std::vector<std::string>();
  if (!runs.empty())
    throw ArgumentError(fmt::format("{}: this is a folder of runs; name one of them, such as {}", printable(what, 4096),
                                    shell_word(runs.front())));
  throw ArgumentError(fmt::format("{}: {}; {}", printable(what, 4096),
                                  folder  ? "there is no run in this folder"
                                  : there ? "this is a file, expected the folder of a run"
                                          : "there is no such folder",
                                  use == RunUse::resume
                                      ? "check the path, or begin a run with 'weir train PRESET --run FOLDER'"
                                      : "name the folder of a run or of a checkpoint"));
}

std::string run_to_read(const std::string& what) {
  const std::string run = run_named(what);
  if (run.empty()) refuse_no_run(what, RunUse::read);
  return run;
}

std::string run_file(const std::string& run, const std::string& name) {
  const std::string path = run + "/" + name;
  std::error_code ignored;
  if (fs::is_symlink(path, ignored))
    throw RunError(ExitCode::io,
                   fmt::format("{}: this is a symbolic link, where a run has a regular file; put the file itself there",
                               printable(path, 4096)));
  return path;
}

}  // namespace weir
