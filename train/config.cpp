#include "train/config.h"

#include <fmt/format.h>

#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/presets.h"

namespace weir {
namespace {

constexpr std::int64_t any_count = 1'000'000'000'000'000;
constexpr std::uint64_t largest_file = 1 << 20;

std::string read_config_file(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(status)) {
    throw ArgumentError(quote_short(path) + ": there is no such configuration file; check the path");
  }
  if (std::filesystem::is_directory(status)) {
    throw ArgumentError(quote_short(path) + ": a directory; give a TOML file or a preset's name");
  }
  return read_file(path, largest_file, Empty::allowed);
}

// `source` tells the user where the values came from that break a rule.
Config finished(Config config, std::span<const std::string> overrides, const std::string& source) {
  const FieldList fields = fields_of(config);
  for (const std::string& argument : overrides) apply_override(fields, argument);
  resolve(config);
  try {
    validate(config);
  } catch (const ArgumentError& error) {
    throw ArgumentError(source + ": " + error.what());
  }
  return config;
}

std::int64_t tokens_per_step(const Config& config) { return config.train.batch_size * config.model.segment; }

void validate_routing(const FeedforwardConfig& f) {
  if (f.k > f.experts) {
    throw ArgumentError(
        fmt::format("feedforward.k = {} is more than feedforward.experts = {}: a token cannot use more "
                    "experts than there are; lower k or add experts",
                    f.k, f.experts));
  }
  if (f.hidden_k > f.k * f.expert_size) {
    throw ArgumentError(
        fmt::format("feedforward.hidden_k = {} is more than the {} hidden units that a token uses (feedforward.k x "
                    "feedforward.expert_size): lower it, or give 0 for all",
                    f.hidden_k, f.k * f.expert_size));
  }
  if (f.selection == "assignment" && f.k != 1) {
    throw ArgumentError(
        fmt::format("feedforward.selection = \"assignment\" gives each token one expert, but feedforward.k = {}: set "
                    "feedforward.k = 1, or another selection",
                    f.k));
  }
  if ((f.selection == "assignment" || f.selection == "random") && f.expert_dropout > 0) {
    throw ArgumentError(
        fmt::format("feedforward.selection = {} cannot avoid the experts that feedforward.expert_dropout = {} drops: "
                    "set feedforward.expert_dropout = 0",
                    quote(f.selection), f.expert_dropout));
  }
  const bool regularised = f.regulariser != "none" && f.regulariser_weight > 0;
  if (f.selection == "random" && regularised) {
    throw ArgumentError(
        fmt::format("feedforward.regulariser = {} cannot change which experts feedforward.selection = \"random\" "
                    "draws: set feedforward.regulariser = \"none\"",
                    quote(f.regulariser)));
  }
  if (f.regulariser == "importance" && f.gate == "one" && regularised) {
    throw ArgumentError(
        "feedforward.regulariser = \"importance\" works through the gates, which feedforward.gate = \"one\" makes "
        "constant: choose another gate, or another regulariser");
  }
}

void validate_top_k(const FeedforwardConfig& f) {
  if (f.k > f.d_ff) {
    throw ArgumentError(
        fmt::format("feedforward.k = {} is more than feedforward.d_ff = {}: a token cannot keep more hidden "
                    "units than there are; lower k or raise d_ff",
                    f.k, f.d_ff));
  }
}

void validate_memory(const FeedforwardConfig& f, const ModelConfig& model) {
  if (f.k > f.sub_keys * f.sub_keys) {
    throw ArgumentError(
        fmt::format("feedforward.k = {} is more than the {} values of feedforward.sub_keys = {}: lower k (from "
                    "sub_keys on, every value is used) or add sub-keys",
                    f.k, f.sub_keys * f.sub_keys, f.sub_keys));
  }
  if (model.d_model % 2 != 0) {
    throw ArgumentError(
        fmt::format("model.d_model = {} is odd, but feedforward.kind = \"pkm\" cuts its input into two equal "
                    "halves: make d_model even",
                    model.d_model));
  }
  if (f.init == "switch") {
    throw ArgumentError(
        "feedforward.init = \"switch\" is for experts; feedforward.kind = \"pkm\" starts \"dense-equivalent\" or "
        "\"standard\": choose one of these");
  }
}

void validate_model(const Config& c) {
  const FeedforwardConfig& f = c.feedforward;
  if (f.kind == "moe") validate_routing(f);
  if (f.kind == "top-k") validate_top_k(f);
  if (f.kind == "pkm") validate_memory(f, c.model);
  if (c.sample.top_k > c.model.vocabulary) {
    throw ArgumentError(
        fmt::format("sample.top_k = {} is more than model.vocabulary = {}: lower it, or give 0 for all tokens",
                    c.sample.top_k, c.model.vocabulary));
  }
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
  if (c.train.steps > 0 && o.warmup_steps >= c.train.steps) {
    throw ArgumentError(
        fmt::format("optimizer.warmup_steps = {} leaves nothing of train.steps = {}: make the warm-up shorter "
                    "than the run",
                    o.warmup_steps, c.train.steps));
  }
  const bool limited = c.train.steps > 0 || c.train.tokens > 0 || c.train.minutes > 0;
  if (o.schedule == "cosine" && o.decay_steps == 0 && !limited) {
    throw ArgumentError(
        "optimizer.schedule = \"cosine\" needs an end, but optimizer.decay_steps, train.steps, train.tokens "
        "and train.minutes are all 0: set one of them, or optimizer.schedule = \"constant\"");
  }
}

}  // namespace

void DataConfig::visit(FieldVisitor& v) {
  v.field("train", train,
          "text file, whose bytes are the tokens, or folder of prepared data; a relative path starts at the working "
          "directory");
  v.field("valid", valid,
          "the same for validation; empty: the valid split of the folder, or else the last part of the training data");
  v.field("valid_fraction", valid_fraction, {.min = 0, .below = 1},
          "share of the training data that is kept for validation where there is no other");
}

void TrainConfig::visit(FieldVisitor& v) {
  v.field("batch_size", batch_size, {.min = 1, .max = 1 << 20}, "sequences per step");
  v.field("accumulate", accumulate, {.min = 1, .max = 1 << 20},
          "equal parts in which the batch is computed one after the other, to save memory");
  v.field("steps", steps, {.min = 0, .max = any_count}, "stop after so many steps; 0: no limit");
  v.field("tokens", tokens, {.min = 0, .max = any_count}, "stop after so many tokens; 0: no limit");
  v.field("minutes", minutes, {.min = 0, .max = 1e7}, "stop after so many minutes; 0: no limit");
  v.field("seed", seed, {.min = 0}, "all random numbers follow from it: initial weights, dropout, samples");
  v.field("threads", threads, {.min = 0, .max = 4096}, "processor threads; 0: as many as the machine has");
  v.field("log_every", log_every, {.min = 1, .max = any_count}, "steps between two entries in the metrics");
}

void OptimizerConfig::visit(FieldVisitor& v) {
  v.field("lr", lr, {.max = 1e3, .above = 0}, "highest learning rate");
  v.field("warmup_steps", warmup_steps, {.min = 0, .max = any_count}, "steps in which the rate rises to lr");
  v.field(
      "decay_steps", decay_steps, {.min = 0, .max = any_count},
      "steps in which the cosine falls, counted from the end of the warm-up; 0: the whole run, by steps or by time, "
      "whichever limit is nearer");
  v.field("schedule", schedule, {"cosine", "constant"}, "the rate after the warm-up");
  v.field("min_lr", min_lr, {.min = 0, .max = 1e3}, "rate at the end of the cosine");
  v.field("beta1", beta1, {.min = 0, .below = 1}, "decay of AdamW's mean of gradients");
  v.field("beta2", beta2, {.min = 0, .below = 1}, "decay of AdamW's mean of squared gradients");
  v.field("eps", eps, {.max = 1, .above = 0}, "AdamW's addition to the root of the mean of squares");
  v.field("weight_decay", weight_decay, {.min = 0, .max = 1e3}, "AdamW's decoupled weight decay");
  v.field("clip", clip, {.min = 0, .max = 1e6}, "largest L2 norm of the whole gradient; 0: no limit");
}

void EvalConfig::visit(FieldVisitor& v) {
  v.field("every", every, {.min = 0, .max = any_count}, "steps between two evaluations; 0: none");
  v.field("batch_size", batch_size, {.min = 1, .max = 1 << 20}, "streams into which the validation data is cut");
  v.field("memory", memory, {.min = -1, .max = 1 << 20},
          "tokens before the segment that attention still sees in evaluation; -1: as in training");
  v.field("max_tokens", max_tokens, {.min = 0, .max = any_count},
          "tokens per evaluation; 0: all of the validation data");
}

void CheckpointConfig::visit(FieldVisitor& v) {
  v.field("every", every, {.min = 0, .max = any_count}, "steps between two checkpoints; 0: only at the end");
  v.field("keep_last", keep_last, {.min = 1, .max = 1 << 20}, "newest checkpoints that are kept");
  v.field("keep_best", keep_best, "also keep the checkpoint with the lowest validation loss");
}

void SampleConfig::visit(FieldVisitor& v) {
  v.field("every", every, {.min = 0, .max = any_count}, "steps between two text samples; 0: none");
  v.field("tokens", tokens, {.min = 1, .max = 1 << 20}, "length of a sample");
  v.field("prompt", prompt, "text that the sample continues");
  v.field("temperature", temperature, {.min = 0, .max = 100}, "divides the logits; 0: always the likeliest token");
  v.field("top_k", top_k, {.min = 0, .max = 1 << 24}, "sample among so many likeliest tokens; 0: among all");
}

void Config::visit(FieldVisitor& v) {
  v.field("name", name, "name of the run");
  v.section("model", model, "The Transformer-XL.");
  v.section("feedforward", feedforward,
            "The feedforward of every layer: dense, Top-K, a product-key memory, or a mixture of experts.");
  v.section("data", data, "The text.");
  v.section("train", train, "The length of the run, the batch, the seed.");
  v.section("optimizer", optimizer, "AdamW and the learning rate.");
  v.section("eval", eval, "Evaluation during the run.");
  v.section("checkpoint", checkpoint, "What is saved.");
  v.section("sample", sample, "Text generated during the run.");
}

Config parse_config(const std::string& text, const std::string& file_name, std::span<const std::string> overrides) {
  Config config;
  config.name = std::filesystem::path(file_name).stem().string();
  const std::string name_of_file = config.name;
  const FieldList fields = fields_of(config);
  read_toml(fields, text, file_name, [&](const std::string& preset) {
    config = preset_config(preset);
    config.name = name_of_file;
  });
  return finished(config, overrides, file_name);
}

Config load_config(const std::string& preset_or_path, std::span<const std::string> overrides) {
  const bool is_path = preset_or_path.find('/') != std::string::npos || preset_or_path.ends_with(".toml");
  if (!is_path) return finished(preset_config(preset_or_path), overrides, "preset " + preset_or_path);
  return parse_config(read_config_file(preset_or_path), preset_or_path, overrides);
}

void resolve(Config& config) {
  config.model.memory = config.model.memory_length();
  if (config.eval.memory < 0) config.eval.memory = config.model.memory;
}

void validate(const Config& config) {
  validate(config.model, config.feedforward);
  validate_model(config);
  validate_batches(config);
  validate_schedule(config);
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
