#include "train/run_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/data.h"
#include "train/data_paths.h"
#include "train/run_directory.h"
#include "train/run_lookup.h"
#include "train/run_names.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

bool same_folder(const std::string& a, const std::string& b) { return real_folder(a) == real_folder(b); }

RunPlan stored_run(const std::string& run, const RunRequest& request) {
  if (!holds_run(run)) refuse_no_run(run, RunUse::resume);
  RunPlan plan{.config = {}, .run = run, .notes = {}};
  plan.config = run_config(run, request.overrides, &plan.notes);
  return plan;
}

// The presets of the paper name data sets, which have to be made first.
void check_data_of_preset(const DataConfig& data, const RunRequest& request) {
  const bool given = std::any_of(request.overrides.begin(), request.overrides.end(),
                                 [](const std::string& change) { return change.starts_with("data.train="); });
  if (!is_preset(request.what) || given || data.train.empty()) return;
  try {
    is_prepared_data(data_path(data, data.train));
  } catch (const RunError& error) {
    throw RunError(error.code(), fmt::format("preset {}: {}", request.what, error.what()));
  }
}

RunPlan begun(const RunRequest& request) {
  RunPlan plan;
  plan.config = load_config(request.what, request.overrides, &plan.notes);
  check_data_of_preset(plan.config.data, request);
  plan.run = request.run.empty() ? "runs/" + plan.config.name : request.run;
  return plan;
}

// `weir train PRESET --resume`: the settings of the run count, which may differ from the preset's.
RunPlan resumed_preset(const RunRequest& request) {
  RunPlan fresh = begun(request);
  if (!holds_run(fresh.run)) return fresh;
  RunPlan stored = stored_run(fresh.run, request);
  if (stored.config.name != fresh.config.name)
    throw ArgumentError(
        fmt::format("{} holds the run {}, not {}: choose another folder with --run, or continue it with: {}",
                    printable(fresh.run, 4096), quote_short(stored.config.name), quote_short(fresh.config.name),
                    resume_command(fresh.run)));
  return stored;
}

RunPlan resumed(const RunRequest& request) {
  if (request.what.empty()) return stored_run(request.run, request);
  // A preset's name stands for the run only where that was begun with it.
  if (is_preset(request.what) && !holds_run(request.what)) return resumed_preset(request);
  if (const std::string run = run_named(request.what); !run.empty()) {
    if (!request.run.empty() && !same_folder(request.run, run))
      throw ArgumentError(fmt::format("two runs are named, {} and --run {}; name the one to resume",
                                      printable(run, 4096), printable(request.run, 4096)));
    return stored_run(run, request);
  }
  if (!request.what.ends_with(".toml")) refuse_no_run(request.what, RunUse::resume);
  return begun(request);
}

bool is_setting(const std::string& word) {
  return word.find('=') != std::string::npos && word.find(' ') == std::string::npos;
}

// Its configuration may begin another run, where --run says so.
void refuse_run(const RunRequest& request) {
  const std::string& what = request.what;
  const std::string run = run_named(what);
  const bool is_config = run != what && fs::path(what).filename() == "config.toml";
  if (run.empty() || is_preset(what) || (is_config && !request.run.empty())) return;
  if (is_config)
    throw ArgumentError(
        fmt::format("{}: this is the configuration of the run in {}; begin another run with it with --run "
                    "FOLDER, or continue that one with: {}",
                    printable(what, 4096), printable(run, 4096), resume_command(run)));
  throw ArgumentError(fmt::format("{}{} is the folder of a run; continue it with: {}",
                                  run == what ? "" : fmt::format("there is no preset {}, but ", quote_short(what)),
                                  printable(run, 4096), resume_command(run)));
}

}  // namespace

RunPlan plan_run(const RunRequest& given) {
  RunRequest request = given;
  if (request.resume && request.what.find('=') != std::string::npos &&
      !holds_run(request.what)) {  // a setting stands where the run would
    request.overrides.insert(request.overrides.begin(), request.what);
    request.what.clear();
  }
  if (request.what.empty() && (!request.resume || request.run.empty()))
    throw ArgumentError(
        "train: name a preset or a .toml file (see 'weir presets'), or resume with --resume FOLDER, such "
        "as 'weir train --resume runs/quickstart'; --run names another folder");
  if (!request.resume) refuse_run(request);
  if (is_setting(request.what) && !is_there(request.what))
    throw ArgumentError(
        fmt::format("train: {} stands where a preset or a .toml file belongs; name one first, such as: "
                    "weir train quickstart {}",
                    quote_short(request.what), shell_word(request.what)));
  RunPlan plan = request.resume ? resumed(request) : begun(request);
  if (request.resume && holds_run(plan.run))
    plan.config.data = found_data(plan.config.data, plan.run,
                                  "or say where it is with data.train=PATH (and data.valid=PATH, where it was "
                                  "given)");
  plan.config.data = relative_to_run(plan.config.data, plan.run);
  return plan;
}

}  // namespace weir
