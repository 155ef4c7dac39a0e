// Reading a sweep's file.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <list>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "models/model_cost.h"
#include "tools/weir/sweep.h"
#include "train/preconditions.h"
#include "train/presets.h"

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
  std::list<SweepVariant> variants;  // stay where they are while others are added
};

Parsed parse(const std::string& path) {
  Parsed parsed;
  Config& base = parsed.file.base;
  base.name = std::filesystem::path(path).stem().string();
  const std::string stem = base.name;
  const auto preset = [&](const std::string& name) {
    base = preset_config(name);
    base.name = stem;
  };
  const auto next_variant = [&] {
    SweepVariant& variant = parsed.variants.emplace_back();
    variant.config = base;
    variant.config.name.clear();
    return fields_of(variant);
  };
  read_toml(fields_of(parsed.file), read_file(path, kLargestFile), path, preset, {"variant", next_variant});
  return parsed;
}

void check_names(const Parsed& parsed, const std::string& path) {
  if (parsed.variants.empty())
    throw ArgumentError(path + ": no variants; write [[variant]], its name below, and what it changes");
  std::vector<std::string> seen;
  for (const SweepVariant& variant : parsed.variants) {
    const std::string& name = variant.config.name;
    if (name.empty()) throw ArgumentError(path + ": a [[variant]] without a name; give each one name = \"...\"");
    if (name.find('/') != std::string::npos || name.starts_with('.') || printable(name) != name)
      throw ArgumentError(fmt::format("{}: variant {}: its name becomes a folder's; use letters, digits and dashes",
                                      path, quote_short(name)));
    if (std::find(seen.begin(), seen.end(), name) != seen.end())
      throw ArgumentError(fmt::format("{}: two variants are named {}; rename one", path, quote_short(name)));
    seen.push_back(name);
  }
}

void check_only(const SweepArguments& arguments, const Parsed& parsed) {
  std::vector<std::string> names;
  for (const SweepVariant& variant : parsed.variants) names.push_back(variant.config.name);
  for (const std::string& name : arguments.only)
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw ArgumentError(fmt::format("--only: {} has no variant {}{}; its variants are {}", arguments.file,
                                      quote_short(name), did_you_mean(name, names), join(names, ", ")));
}

// One thread each, unless the file says otherwise: a process per core is the quickest way through a sweep.
void finish(SweepVariant& variant, const SweepArguments& arguments) {
  try {
    const FieldList fields = fields_of(variant.config);
    for (const std::string& change : arguments.overrides) apply_override(fields, change);
    if (variant.config.train.threads == 0) variant.config.train.threads = 1;
    resolve(variant.config);
    validate(variant.config);
    model_cost(variant.config.model, variant.config.feedforward, 1);
  } catch (const ArgumentError& error) {
    throw ArgumentError(fmt::format("{}: variant {}: {}", arguments.file, variant.config.name, error.what()));
  }
}

// The key and both values of the first setting in which two configurations differ; empty where there is none.
std::string first_difference(Config was, Config is) {
  const FieldList before = fields_of(was), now = fields_of(is);
  for (std::size_t i = 0; i < now.fields.size(); ++i)
    if (value_text(before.fields[i]) != value_text(now.fields[i]))
      return fmt::format("{} = {}, which is now {}", now.fields[i].key(), value_text(before.fields[i]),
                         value_text(now.fields[i]));
  return {};
}

}  // namespace

void SweepVariant::visit(FieldVisitor& v) {
  v.field("published", published, {.min = 0}, "result to print beside ours; 0: none");
  config.visit(v);
}

bool SweepRun::finished() const {
  const std::string path = file("result.json");
  if (!std::filesystem::exists(path)) return false;
  const auto result = nlohmann::json::parse(read_file(path, kLargestFile, Empty::allowed), nullptr, false);
  return result.is_object() && result.value("outcome", "") == "finished";
}

Sweep load_sweep(const SweepArguments& arguments) {
  Parsed parsed = parse(arguments.file);
  check_names(parsed, arguments.file);
  check_only(arguments, parsed);
  Sweep sweep;
  sweep.name = parsed.file.base.name;
  sweep.folder = arguments.folder.empty() ? "runs/" + sweep.name : arguments.folder;
  for (SweepVariant& variant : parsed.variants) {
    const std::vector<std::string>& only = arguments.only;
    if (!only.empty() && std::find(only.begin(), only.end(), variant.config.name) == only.end()) continue;
    finish(variant, arguments);
    sweep.variants.push_back(std::move(variant));
  }
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

void check_before_sweep(const Sweep& sweep) {
  for (auto variant = sweep.variants.begin(); variant != sweep.variants.end(); ++variant) {
    const auto same_data = [&](const SweepVariant& other) { return other.config.data == variant->config.data; };
    if (std::none_of(sweep.variants.begin(), variant, same_data)) check_before_training(variant->config);
  }
  for (const SweepRun& run : sweep.runs) {
    if (!std::filesystem::exists(run.file("config.toml"))) continue;
    const std::string difference = first_difference(load_config(run.file("config.toml")), run.config);
    if (!difference.empty())
      throw ArgumentError(
          fmt::format("{}: begun with {}; remove that folder, or choose another with --run", run.folder, difference));
  }
}

}  // namespace weir
