// The configuration of a run: all sections, how they are loaded, and the rules that join fields.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/fields.h"
#include "models/config.h"
#include "train/optimizer/kind.h"

namespace weir {

struct DataConfig {
  std::string train;
  std::string valid;
  double valid_fraction = 0.05;
  std::string encoding = "utf-8";
  std::string folder{};
  std::string order = "streams";

  void visit(FieldVisitor& v);
  bool operator==(const DataConfig&) const = default;
};

struct TrainConfig {
  std::int64_t batch_size = 16;
  std::int64_t accumulate = 1;
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  double minutes = 0;
  std::int64_t seed = 1;
  std::int64_t threads = 0;
  std::int64_t log_every = 10;
  std::int64_t max_rollbacks = 2;

  void visit(FieldVisitor& v);
  bool operator==(const TrainConfig&) const = default;
};

struct OptimizerConfig {
  double lr = 2.5e-4;
  std::int64_t warmup_steps = 0;
  std::int64_t decay_steps = 0;
  std::string schedule = "cosine";
  double min_lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  double clip = 0.25;
  std::string kind = "adamw";
  std::string no_decay{};
  std::string rates{};
  SettingsByName<OptimizerKind> own{};  // sections beside this one

  void visit(FieldVisitor& v);
  bool operator==(const OptimizerConfig&) const = default;
};

struct EvalConfig {
  std::int64_t every = 200;
  std::int64_t batch_size = 4;
  std::int64_t memory = -1;
  std::int64_t max_tokens = 0;

  void visit(FieldVisitor& v);
  bool operator==(const EvalConfig&) const = default;
};

struct CheckpointConfig {
  std::int64_t every = 200;
  std::int64_t keep_last = 2;
  bool keep_best = true;

  void visit(FieldVisitor& v);
  bool operator==(const CheckpointConfig&) const = default;
};

struct SampleConfig {
  std::int64_t every = 200;
  std::int64_t tokens = 200;
  std::string prompt = "\n";
  double temperature = 0.8;
  std::int64_t top_k = 0;

  void visit(FieldVisitor& v);
  bool operator==(const SampleConfig&) const = default;
};

struct Config {
  std::string name = "run";
  ModelConfig model{.vocabulary = 0};
  FeedforwardConfig feedforward;
  DataConfig data;
  TrainConfig train;
  OptimizerConfig optimizer;
  EvalConfig eval;
  CheckpointConfig checkpoint;
  SampleConfig sample;

  void visit(FieldVisitor& v);
  bool operator==(const Config&) const = default;
};

// What the user should know of values that did not come out as they went in, a sentence each.
using Notes = std::vector<std::string>;

// A preset's name or a TOML file, then the overrides ("section.key=value") in their order; resolved and validated. What
// contains a slash or ends in .toml is a file. A file starts from the defaults, or from the preset that it names in
// `preset = "NAME"`. Relative data paths in a file start at its folder, others at the working directory. A limit or a
// warm-up that comes from a preset or from the configuration stored in a run folder gives way to what the user gives
// (train/config_sources.h); `notes` says so.
Config load_config(const std::string& preset_or_path, std::span<const std::string> overrides = {},
                   Notes* notes = nullptr);

// The same for a file's content; `file_name` is for messages and paths.
Config parse_config(const std::string& text, const std::string& file_name, std::span<const std::string> overrides = {},
                    Notes* notes = nullptr);

// The same for the text that a run or a checkpoint stored.
Config parse_stored_config(const std::string& text, const std::string& file_name,
                           std::span<const std::string> overrides = {}, Notes* notes = nullptr);

// A setting in which two configurations differ; the values as TOML writes them.
struct SettingChange {
  std::string key, before, after;
};
std::vector<SettingChange> changed_settings(Config before, Config after);

// Replaces the values that stand for another: model.memory = -1 for the segment's length, model.vocabulary = 0 for the
// tokens that the data has (256 where there is no data yet, or it cannot be read).
void resolve(Config& config);
void validate(const Config& config);  // the rules that join two fields; throws ArgumentError naming both keys

// For whoever gives a setting as an option of the command line; empty where there is none of that name.
std::string setting_hint(const std::string& option, const std::string& value);

std::string to_toml(const Config& config);
std::string to_json(const Config& config);
std::string help_text();      // every key with its type, limits, default and meaning
std::string help_markdown();  // the same as tables

}  // namespace weir
