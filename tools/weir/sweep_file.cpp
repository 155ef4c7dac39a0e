// Reading a sweep's file.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <list>
#include <map>

#include "core/error.h"
#include "core/file.h"
#include "core/stored_json.h"
#include "core/text.h"
#include "models/language_model.h"
#include "models/model_cost.h"
#include "tools/weir/sweep.h"
#include "train/config_sources.h"
#include "train/optimizer/optimizer.h"
#include "train/presets.h"
#include "train/run_names.h"
#include "train/training_setup.h"

namespace weir {
namespace {

constexpr std::uint64_t kLargestFile = 1 << 20;

// What the file holds beside its variants.
struct SweepFile {
  Config base;
  std::int64_t seeds = 3;

  void visit(FieldVisitor& v) {
    v.field("seeds", seeds, {.min = 1, .max = 1000}, "runs per variant, with train.seed and the numbers after it");
    base.visit(v);
  }
};

struct Parsed {
  SweepFile file;
  ConfigSources sources{.base = "default"};  // of what all variants start from
  struct Variant {
    SweepVariant variant;
    ConfigSources sources;
  };
  std::list<Variant> variants;  // stay where they are while others are added
};

// `weir sweep quickstart`
void refuse_other(const std::string& path) {
  std::error_code ignored;
  if (!path.ends_with(".toml") && is_preset(path) && !std::filesystem::exists(path, ignored))
    throw ArgumentError(
        fmt::format("sweep: {} is a preset, not a .toml file with [[variant]] tables; train it with: weir "
                    "train {}",
                    path, path));
}

Parsed parse(const std::string& path) {
  refuse_other(path);
  Parsed parsed;
  Config& base = parsed.file.base;
  base.name = std::filesystem::path(path).stem().string();
  const std::string stem = base.name;
  const auto preset = [&](const std::string& name) {
    base = preset_config(name);
    base.name = stem;
    parsed.sources.base = "preset " + name;
  };
  const auto next_variant = [&] {
    auto& [variant, sources] = parsed.variants.emplace_back();
    sources = parsed.sources;
    variant.config = base;
    variant.config.name.clear();
    FieldList fields = fields_of(variant);
    fields.origins = &sources.given;
    return fields;
  };
  FieldList fields = fields_of(parsed.file);
  fields.origins = &parsed.sources.given;
  read_toml(fields, read_file(path, kLargestFile, Empty::allowed), path, preset, {"variant", next_variant});
  return parsed;
}

void check_names(const Parsed& parsed, const std::string& path) {
  if (parsed.variants.empty()) {
    const std::string run = run_named(path);  // whose configuration it is
    throw ArgumentError(fmt::format(
        "{} has no [[variant]] tables, so it cannot be swept: add a [[variant]] with a name and the settings it "
        "changes, or train the one model with: {}",
        printable(path, 4096), run.empty() ? "weir train " + shell_word(path) : resume_command(run)));
  }
  std::vector<std::string> seen;
  for (const auto& [variant, sources] : parsed.variants) {
    const std::string& name = variant.config.name;
    if (name.empty()) throw ArgumentError(path + ": a [[variant]] without a name; give each one name = \"...\"");
    if (name.find('/') != std::string::npos || name.starts_with('.') || name.size() > 180 || one_line(name) != name)
      throw ArgumentError(
          fmt::format("{}: variant {}: its name becomes a folder's; use at most 180 letters, digits and dashes", path,
                      quote_short(name)));
    if (std::find(seen.begin(), seen.end(), name) != seen.end())
      throw ArgumentError(fmt::format("{}: two variants are named {}; rename one", path, quote_short(name)));
    seen.push_back(name);
  }
}

void check_only(const SweepArguments& arguments, const Parsed& parsed) {
  std::vector<std::string> names;
  for (const auto& [variant, sources] : parsed.variants) names.push_back(variant.config.name);
  for (const std::string& name : arguments.only)
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw ArgumentError(fmt::format("--only: {} has no variant {}{}; its variants are {}", arguments.file,
                                      quote_short(name), did_you_mean(name, names), join(names, ", ")));
}

[[noreturn]] void refuse_result(const std::string& path, const std::string& field, const std::string& why) {
  refuse_stored(path, field, why + "; remove this file, and the sweep trains the variant to its end");
}

// One thread each, unless the file says otherwise: a process per core is the quickest way through a sweep.
void finish(SweepVariant& variant, ConfigSources sources, const SweepArguments& arguments, Notes& notes) {
  try {
    FieldList fields = fields_of(variant.config);
    fields.origins = &sources.given;
    for (const std::string& change : arguments.overrides) apply_override(fields, change);
    if (variant.config.train.threads == 0) variant.config.train.threads = 1;
    complete(variant.config, sources, &notes);
    model_cost(variant.config.model, variant.config.feedforward, 1);
    check_optimizer(variant.config.optimizer,
                    make_language_model(variant.config.model, variant.config.feedforward)->parameters());
  } catch (const ArgumentError& error) {
    throw ArgumentError(fmt::format("{}: variant {}: {}", arguments.file, variant.config.name, error.what()));
  }
}

// Results of runs with other settings are nothing that the sweep may mix with its own, or lose.
void check_same_settings(const Sweep& sweep) {
  std::string first;
  std::size_t others = 0;
  for (const SweepRun& run : sweep.runs) {
    if (!is_there(run.file("config.toml"))) continue;
    const std::vector<SettingChange> changes = changed_settings(load_config(run.file("config.toml")), run.config);
    if (changes.empty()) continue;
    if (!first.empty())
      ++others;
    else
      first = fmt::format("{}: this run has {} = {}, but the sweep wants {}", printable(run.folder, 4096),
                          changes[0].key, changes[0].before, changes[0].after);
  }
  if (first.empty()) return;
  if (others > 0)
    first += fmt::format(" (and {} {} other settings)", counted(others, "other"), others == 1 ? "has" : "have");
  throw ArgumentError(fmt::format(
      "{}; give the sweep the settings of its runs, or, to train anew, move {} away or choose another with --run",
      first, others > 0 ? "their folders" : "that folder"));
}

}  // namespace

void SweepVariant::visit(FieldVisitor& v) {
  v.field("published", published, {.min = 0}, "result to print beside ours; 0: none");
  config.visit(v);
}

bool SweepRun::finished() const {
  const std::string path = file("result.json");
  if (!is_there(path, Links::themselves)) return false;
  check_replaceable(path);
  const auto result = StoredJson::try_parse(read_file(path, kLargestFile, Empty::allowed), path, refuse_result);
  return result && result->text("outcome") == "finished";
}

Sweep load_sweep(const SweepArguments& arguments) {
  Parsed parsed = parse(arguments.file);
  check_names(parsed, arguments.file);
  check_only(arguments, parsed);
  Sweep sweep;
  sweep.name = parsed.file.base.name;
  sweep.folder = arguments.folder.empty() ? "runs/" + sweep.name : arguments.folder;
  std::map<std::string, std::size_t> times;  // a note is that of so many variants
  for (auto& [variant, sources] : parsed.variants) {
    const std::vector<std::string>& only = arguments.only;
    if (!only.empty() && std::find(only.begin(), only.end(), variant.config.name) == only.end()) continue;
    Notes notes;
    finish(variant, sources, arguments, notes);
    for (const std::string& note : notes)
      if (++times[note] == 1) sweep.notes.push_back(note);
    sweep.variants.push_back(std::move(variant));
  }
  // What one variant has no use for, another has.
  std::erase_if(sweep.notes, [&](const std::string& note) {
    return note.find(") has no effect: ") != std::string::npos && times[note] < sweep.variants.size();
  });
  const std::int64_t seeds = arguments.seeds > 0 ? arguments.seeds : parsed.file.seeds;
  for (std::int64_t i = 0; i < seeds; ++i)
    for (std::size_t v = 0; v < sweep.variants.size(); ++v) {
      SweepRun run;
      run.variant = v;
      run.config = sweep.variants[v].config;
      run.config.train.seed += i;
      run.name = fmt::format("{}-seed{}", run.config.name, run.config.train.seed);
      run.folder = sweep.folder + "/" + run.name;
      run.config.name = run.name;
      sweep.runs.push_back(std::move(run));
    }
  return sweep;
}

bool holds_any_run(const Sweep& sweep) {
  std::error_code ignored;
  return std::any_of(sweep.runs.begin(), sweep.runs.end(),
                     [&](const SweepRun& run) { return std::filesystem::exists(run.folder, ignored); });
}

void check_any_run(const Sweep& sweep) {
  if (holds_any_run(sweep)) return;
  std::error_code ignored;
  const std::string folder = printable(sweep.folder, 4096);
  if (!std::filesystem::exists(sweep.folder, ignored))
    throw RunError(ExitCode::io, fmt::format("{}: there is no such folder; name that of the sweep with --run, or leave "
                                             "out --table to train",
                                             folder));
  throw RunError(ExitCode::io,
                 fmt::format("{}: none of the runs of {} is in this folder, not even {}; name that of the "
                             "sweep with --run, or leave out --table to train",
                             folder, quote_short(sweep.name), sweep.runs[0].name));
}

void check_before_sweep(const Sweep& sweep) {
  for (auto variant = sweep.variants.begin(); variant != sweep.variants.end(); ++variant) {
    const auto same_data = [&](const SweepVariant& other) { return other.config.data == variant->config.data; };
    if (std::none_of(sweep.variants.begin(), variant, same_data)) TrainingSetup{variant->config};
  }
  check_same_settings(sweep);
}

}  // namespace weir
