#include "train/config.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "models/language_model.h"
#include "train/batch_source.h"
#include "train/config_sources.h"
#include "train/config_synonyms.h"
#include "train/data_paths.h"
#include "train/dataset.h"
#include "train/optimizer/groups.h"
#include "train/presets.h"
#include "train/schedule.h"

namespace weir {
namespace {

constexpr std::int64_t any_count = 1'000'000'000'000'000;
constexpr std::uint64_t largest_file = 1 << 20;

std::string read_config_file(const std::string& path) {
  if (!is_there(path)) throw ArgumentError(quote_short(path) + ": there is no such configuration file; check the path");
  if (std::error_code ignored; std::filesystem::is_directory(path, ignored)) {
    throw ArgumentError(quote_short(path) + ": a directory; give a TOML file or a preset's name");
  }
  return read_file(path, largest_file, Empty::allowed);
}

bool is_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

// Whether the first line with more than a comment in it is a section, "[train]", or a key with a value.
bool looks_like_toml(const std::string& path) {
  constexpr const char* kNames = "abcdefghijklmnopqrstuvwxyz0123456789_.";
  std::ifstream file(path);
  std::string line;
  for (int i = 0; i < 100 && std::getline(file, line); ++i) {
    std::erase_if(line, [](char c) { return c == ' ' || c == '\t' || c == '\r'; });
    if (line.empty() || line[0] == '#') continue;
    const std::size_t name = line.find_first_not_of('['), end = line.find_first_not_of(kNames, name);
    return name != std::string::npos && end != std::string::npos && end > name && line[end] == (name > 0 ? ']' : '=');
  }
  return false;
}

// `weir train book.txt`, `weir train data/book`: what is to be trained on it is missing.
void refuse_data(const std::string& path) {
  const bool prepared = is_file(path + "/dataset.json");
  if (path.ends_with(".toml") || !(prepared || is_file(path))) return;
  if (!prepared && looks_like_toml(path))
    throw ArgumentError(fmt::format("{}: the names of configurations end in .toml; if this is one, rename it: mv {} {}",
                                    printable(path, 4096), shell_word(path), shell_word(path + ".toml")));
  throw ArgumentError(
      fmt::format("{}: this is {}, but no configuration (their names end in .toml); to train on it, name a "
                  "preset as well: weir train quickstart {}",
                  printable(path, 4096), prepared ? "prepared data" : "a file", shell_word("data.train=" + path)));
}

// `weir train quickstart book.txt`
void refuse_text_among_settings(const std::string& argument) {
  if (argument.find('=') != std::string::npos || !is_file(argument)) return;
  throw ArgumentError(fmt::format("argument {}: this is a file; to train on it, write {}", quote_short(argument),
                                  shell_word("data.train=" + argument)));
}

// Beside it lies what only a run folder has.
bool is_stored_config(const std::string& path) {
  const std::filesystem::path file(path), folder = file.parent_path();
  return file.filename() == "config.toml" &&
         (is_there((folder / "lock").string()) || is_there((folder / "checkpoints").string()));
}

Config with_overrides(Config config, std::span<const std::string> overrides, ConfigSources sources, Notes* notes) {
  FieldList fields = fields_of(config);
  fields.origins = &sources.given;
  for (const std::string& argument : overrides) {
    refuse_text_among_settings(argument);
    apply_override(fields, argument);
  }
  complete(config, sources, notes);
  return config;
}

std::int64_t vocabulary_of(const DataConfig& data) {
  const std::string path = data_path(data, data.train);
  try {
    return is_there(path + "/dataset.json") ? read_dataset(path).vocabulary : 256;
  } catch (const RunError&) {
    return 256;  // whoever opens the data says what is wrong
  }
}

std::int64_t tokens_per_step(const Config& config) { return config.train.batch_size * config.model.segment; }

void validate_sample(const Config& c) {
  if (c.sample.top_k <= c.model.vocabulary) return;
  throw ArgumentError(
      fmt::format("sample.top_k = {} is more than model.vocabulary = {}: lower it, or give 0 for all tokens",
                  c.sample.top_k, c.model.vocabulary));
}

// A run's folder is named after it where --run names no other.
void validate_name(const std::string& name) {
  constexpr std::size_t longest = 200;
  const char* const wrong = name.empty()                          ? "is empty"
                            : name.find('/') != std::string::npos ? "has a slash"
                            : name.starts_with('.')               ? "begins with a dot"
                            : one_line(name) != name              ? "has control characters, or is not UTF-8"
                            : name.size() > longest               ? "is longer than 200 bytes"
                                                                  : nullptr;
  if (wrong != nullptr)
    throw ArgumentError(
        fmt::format("name = {} {}, but a run's folder is named after it: give another with name=NAME "
                    "(--run names another folder)",
                    quote_short(name), wrong));
}

void validate_batches(const Config& c) {
  if (c.train.batch_size % c.train.accumulate != 0) {
    throw ArgumentError(
        fmt::format("train.batch_size = {} cannot be cut into train.accumulate = {} equal parts: make "
                    "batch_size a multiple of accumulate",
                    c.train.batch_size, c.train.accumulate));
  }
  if (c.train.tokens > 0 && c.train.tokens < tokens_per_step(c)) {
    throw ArgumentError(
        fmt::format("train.tokens = {} is less than the {} tokens of one step (train.batch_size x "
                    "model.segment): raise tokens or lower batch_size",
                    c.train.tokens, tokens_per_step(c)));
  }
  const std::int64_t eval_tokens = c.eval.batch_size * c.model.segment;
  if (c.eval.max_tokens > 0 && c.eval.max_tokens < eval_tokens) {
    throw ArgumentError(
        fmt::format("eval.max_tokens = {} is less than the {} tokens of one evaluation batch "
                    "(eval.batch_size x model.segment): raise max_tokens or lower eval.batch_size",
                    c.eval.max_tokens, eval_tokens));
  }
}

void validate_schedule(const Config& c) {
  const OptimizerConfig& o = c.optimizer;
  if (o.min_lr > o.lr) {
    throw ArgumentError(
        fmt::format("optimizer.min_lr = {} is above optimizer.lr = {}: the rate falls from lr to min_lr; "
                    "lower min_lr",
                    o.min_lr, o.lr));
  }
  const std::int64_t steps = step_limit(c.train, tokens_per_step(c));
  if (steps > 0 && o.warmup_steps >= steps) {
    const std::string limit = steps == c.train.steps
                                  ? fmt::format("train.steps = {}", steps)
                                  : fmt::format("the {} of train.tokens = {}", counted(steps, "step"), c.train.tokens);
    throw ArgumentError(
        fmt::format("optimizer.warmup_steps = {} leaves nothing of {}: make the warm-up shorter than the run",
                    o.warmup_steps, limit));
  }
  const bool limited = c.train.steps > 0 || c.train.tokens > 0 || c.train.minutes > 0;
  if (needs_end(o) && o.decay_steps == 0 && !limited) {
    throw ArgumentError(fmt::format(
        "optimizer.schedule = {} needs an end, but train.minutes = 0, and so are train.steps, train.tokens and "
        "optimizer.decay_steps: set one of them, or optimizer.schedule = \"constant\"",
        quote(o.schedule)));
  }
}

}  // namespace

void DataConfig::visit(FieldVisitor& v) {
  v.field(
      "train", train,
      "text file, whose bytes are the tokens, or folder of prepared data; a relative path starts at the folder of the "
      "configuration file, on the command line at the working directory");
  v.field("valid", valid,
          "the same for validation; empty: the valid split of the folder, or else the last part of the training data");
  v.field("valid_fraction", valid_fraction, {.min = 0, .below = 1},
          "share of the training data that is kept for validation where there is no other");
  v.field("encoding", encoding, {"utf-8", "bytes"},
          "of texts: utf-8 unpacks what is packed and refuses what is no text; bytes takes any file as it is");
  v.field("folder", folder, "where relative paths to the data start; empty: as data.train says");
  v.field("order", order, registry<BatchKind>().names(),
          registry<BatchKind>().help("what the sequences of a batch are").c_str());
}

void TrainConfig::visit(FieldVisitor& v) {
  v.field("batch_size", batch_size, {.min = 1, .max = 1 << 20}, "sequences per step");
  v.field("accumulate", accumulate, {.min = 1, .max = 1 << 20},
          "equal parts in which the batch is computed one after the other, to save memory");
  v.field("steps", steps, {.min = 0, .max = any_count}, "stop after this many steps; 0: no limit");
  v.field("tokens", tokens, {.min = 0, .max = any_count},
          "stop after this many tokens, rounded up to whole steps; 0: no limit");
  v.field("minutes", minutes, {.min = 0, .max = 1e7}, "stop after this many minutes; 0: no limit");
  v.field("seed", seed, {.min = 0}, "all random numbers follow from it: initial weights, dropout, samples");
  v.field("threads", threads, {.min = 0, .max = 4096}, "processor threads; 0: as many as the machine has");
  v.field("log_every", log_every, {.min = 1, .max = any_count}, "steps between two entries in the metrics");
  v.field(
      "max_rollbacks", max_rollbacks, {.min = 0, .max = any_count},
      "times that a run which diverges goes back to its last good checkpoint and past the data that it diverged on, "
      "before it ends");
}

void OptimizerConfig::visit(FieldVisitor& v) {
  v.field("lr", lr, {.max = 1e3, .above = 0}, "highest learning rate");
  v.field("warmup_steps", warmup_steps, {.min = 0, .max = any_count}, "steps in which the rate rises to lr");
  v.field("decay_steps", decay_steps, {.min = 0, .max = any_count},
          "steps in which the rate falls, counted from the end of the warm-up; 0: the whole run, by steps or by time, "
          "whichever limit is nearer");
  v.field("schedule", schedule, registry<ScheduleKind>().names(),
          registry<ScheduleKind>().help("the rate after the warm-up").c_str());
  v.field("min_lr", min_lr, {.min = 0, .max = 1e3}, "rate at the end of the schedule");
  v.field("beta1", beta1, {.min = 0, .below = 1}, "decay of AdamW's mean of gradients");
  v.field("beta2", beta2, {.min = 0, .below = 1}, "decay of AdamW's mean of squared gradients");
  v.field("eps", eps, {.max = 1, .above = 0}, "AdamW's addition to the root of the mean of squares");
  v.field("weight_decay", weight_decay, {.min = 0, .max = 1e3}, "weight decay, decoupled; in SGD as sgd.decay says");
  v.field("clip", clip, {.min = 0, .max = 1e6}, "largest L2 norm of the whole gradient; 0: no limit");
  v.field("kind", kind, registry<OptimizerKind>().names(),
          registry<OptimizerKind>().help("what makes updates of gradients").c_str());
  v.field(
      "no_decay", no_decay,
      "parameters without weight decay: names, with * for any characters, comma-separated, such as *.bias, *.scale");
  v.field(
      "rates", rates,
      "factors of the learning rate: NAME=FACTOR, comma-separated, such as *.router=0.1; the last that matches counts");
}

void EvalConfig::visit(FieldVisitor& v) {
  v.field("every", every, {.min = 0, .max = any_count},
          "steps between two evaluations, and one more at the end; 0: only at the end");
  v.field("batch_size", batch_size, {.min = 1, .max = 1 << 20}, "streams into which the validation data is cut");
  v.field("memory", memory, {.min = -1, .max = 1 << 20},
          "tokens before the segment that attention still sees in evaluation; -1: as in training");
  v.field("max_tokens", max_tokens, {.min = 0, .max = any_count},
          "tokens per evaluation, rounded up to whole segments of all streams; 0: all of the validation data");
}

void CheckpointConfig::visit(FieldVisitor& v) {
  v.field("every", every, {.min = 0, .max = any_count}, "steps between two checkpoints; 0: only at the end");
  v.field("keep_last", keep_last, {.min = 1, .max = 1 << 20}, "newest checkpoints that are kept");
  v.field("keep_best", keep_best, "also keep the checkpoint with the lowest validation loss");
}

void SampleConfig::visit(FieldVisitor& v) {
  v.field("every", every, {.min = 0, .max = any_count},
          "steps between two text samples, and one more at the end; 0: none");
  v.field("tokens", tokens, {.min = 1, .max = 1 << 20}, "length of a sample");
  v.field("prompt", prompt, "text that the sample continues");
  v.field("temperature", temperature, {.min = 0, .max = 100}, "divides the logits; 0: always the likeliest token");
  v.field("top_k", top_k, {.min = 0, .max = 1 << 24}, "sample among this many of the likeliest tokens; 0: among all");
}

void Config::visit(FieldVisitor& v) {
  v.synonyms(synonyms_of_settings());
  v.field("name", name, "name of the run, and of its folder below runs/");
  v.section("model", model, "The model.");
  model.own.visit(v, model.kind);
  v.section("feedforward", feedforward,
            "The feedforward of every layer: dense, Top-K, a product-key memory, or a mixture of experts.");
  feedforward.own.visit(v, feedforward.kind);
  v.section("data", data, "The text.");
  v.section("train", train, "The length of the run, the batch, the seed.");
  v.section("optimizer", optimizer, "The optimiser and the learning rate.");
  optimizer.own.visit(v, optimizer.kind);
  v.section("eval", eval, "Evaluation during the run.");
  v.section("checkpoint", checkpoint, "What is saved.");
  v.section("sample", sample, "Text generated during the run.");
}

Config parse_config(const std::string& text, const std::string& file_name, std::span<const std::string> overrides,
                    Notes* notes) {
  if (has_tables(text, file_name, "variant"))
    throw ArgumentError(
        fmt::format("{}: this is the file of a sweep, with [[variant]] tables; train them with: weir "
                    "sweep {}",
                    printable(file_name, 4096), shell_word(file_name)));
  Config config;
  config.name = std::filesystem::path(file_name).stem().string();
  const std::string name_of_file = config.name;
  ConfigSources sources{.base = "default"};
  FieldList fields = fields_of(config);
  fields.origins = &sources.given;
  read_toml(fields, text, file_name, [&](const std::string& preset) {
    config = preset_config(preset);
    config.name = name_of_file;
    sources.base = "preset " + preset;
  });
  return with_overrides(config, overrides, sources, notes);
}

Config parse_stored_config(const std::string& text, const std::string& file_name,
                           std::span<const std::string> overrides, Notes* notes) {
  Config config;
  read_toml(fields_of(config), text, file_name);
  return with_overrides(config, overrides, {.base = file_name, .stored = true}, notes);
}

Config load_config(const std::string& preset_or_path, std::span<const std::string> overrides, Notes* notes) {
  refuse_data(preset_or_path);
  const bool is_path = preset_or_path.find('/') != std::string::npos || preset_or_path.ends_with(".toml");
  if (!is_path)
    return with_overrides(preset_config(preset_or_path), overrides, {.base = "preset " + preset_or_path}, notes);
  const auto parse = is_stored_config(preset_or_path) ? parse_stored_config : parse_config;
  return parse(read_config_file(preset_or_path), preset_or_path, overrides, notes);
}

std::vector<SettingChange> changed_settings(Config before, Config after) {
  const FieldList was = fields_of(before), is = fields_of(after);
  std::vector<SettingChange> changes;
  for (std::size_t i = 0; i < is.fields.size(); ++i) {
    if (!was.uses(was.fields[i]) && !is.uses(is.fields[i])) continue;
    if (std::string old = value_text(was.fields[i]), now = value_text(is.fields[i]); old != now)
      changes.push_back({is.fields[i].key(), old, now});
  }
  return changes;
}

void resolve(Config& config) {
  if (config.model.vocabulary == 0) config.model.vocabulary = vocabulary_of(config.data);
  config.model.memory = config.model.memory_length();
  if (config.eval.memory < 0) config.eval.memory = config.model.memory;
}

void validate(const Config& config) {
  validate_name(config.name);
  make_language_model(config.model, config.feedforward);  // knows the rules of its settings
  validate_sample(config);
  validate_batches(config);
  validate_schedule(config);
  ParameterGroups(config.optimizer.no_decay, config.optimizer.rates);
}

std::string setting_hint(const std::string& option, const std::string& value) {
  Config defaults;
  return option_hint(fields_of(defaults), option, value);
}

std::string to_toml(const Config& config) {
  Config copy = config;
  return write_toml(fields_of(copy));
}

std::string to_json(const Config& config) {
  Config copy = config;
  return write_json(fields_of(copy));
}

std::string help_text() {
  Config defaults;
  return write_help(fields_of(defaults));
}

std::string help_markdown() {
  Config defaults;
  return write_markdown(fields_of(defaults));
}

}  // namespace weir
