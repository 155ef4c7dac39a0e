#include "train/run_messages.h"
#include "train/batch_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/parallel.h"
#include "core/text.h"
#include "models/feedforward.h"
#include "train/progress.h"
#include "train/run_names.h"
#include "train/tokenizer/unknown_text.h"
#include "train/training_cost.h"

namespace weir {
namespace {

constexpr std::size_t kColumns = 80;
const std::string kIndent(8, ' ');

std::string shown(const std::string& name) { return printable(name, 4096); }

std::string count(std::int64_t number) { return format_si(static_cast<double>(number)); }

// "1 token", "45.6k tokens".
std::string counted_short(std::int64_t number, const std::string& one) {
  return count(number) + " " + one + (number == 1 ? "" : "s");
}

// "model   4 layers, width 128, ...": parts move to the next line as a whole where they do not fit.
std::string line(std::string text, const std::vector<std::string>& parts) {
  text.resize(kIndent.size(), ' ');
  std::string all;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string part = parts[i] + (i + 1 < parts.size() ? "," : "");
    const bool first = text.size() == kIndent.size();
    if (!first && text.size() + 1 + part.size() > kColumns) {
      all += text + "\n";
      text = kIndent;
    } else if (!first) {
      text += ' ';
    }
    text += part;
  }
  return all + text;
}

std::string model_line(const Config& c) {
  const std::string kind = c.model.kind == ModelConfig().kind ? "" : c.model.kind + ", ";
  std::vector<std::string> parts = {kind + counted(c.model.layers, "layer"), fmt::format("width {}", c.model.d_model),
                                    feedforward_text(c.model, c.feedforward)};
  if (const std::int64_t distinct = c.model.distinct_layers(); distinct != c.model.layers)
    parts[0] += fmt::format(" ({} of their own)", distinct);
  return line("model", parts);
}

std::string size_lines(const Config& c, Device device) {
  const ModelCost cost = training_cost(c);
  std::vector<std::string> size = {count(cost.parameters) + " parameters"};
  if (cost.active_parameters != cost.parameters) size.push_back(count(cost.active_parameters) + " active per token");
  std::vector<std::string> place{fmt::format("{} with {}", device_name(device), counted(thread_count(), "thread"))};
  if (backend_of(device).is_emulated()) place.emplace_back("emulated GPU (for tests, slow)");
  place.push_back(c.model.precision);
  place.push_back(fmt::format("about {} of memory", byte_size(static_cast<std::uint64_t>(cost.training_bytes))));
  return line("size", size) + "\n" + line("device", place);
}

std::string amount(const Corpus& corpus) {
  if (corpus.is_bytes()) return counted_short(corpus.size(), "byte");
  std::vector<std::string> text;
  if (const auto bytes = corpus.bytes_per_token())
    text.push_back(format_si(*bytes * static_cast<double>(corpus.size())) + " bytes");
  if (corpus.unknown_share() > 0)
    text.push_back(unknown_percent(corpus.unknown_share()) + " of the text without a token");
  return fmt::format("{} of {}{}", counted_short(corpus.size(), "token"), count(corpus.vocabulary()),
                     text.empty() ? "" : " (" + join(text, ", ") + ")");
}

std::string validation_text(const DataConfig& data, const Corpora& corpora) {
  const auto& [train, valid] = corpora;
  if (valid.size() == 0) return "no validation";
  if (!data.valid.empty() || valid.name() != train.name())
    return fmt::format("validation on {}: {}", shown(valid.name()), amount(valid));
  return fmt::format("validation on its last {:.3g}%: {}", 100 * data.valid_fraction, amount(valid));
}

std::string limits_text(const TrainConfig& train, std::int64_t tokens_per_step) {
  const std::vector<RunLimit> limits = run_limits(train);
  if (limits.empty()) return "no limit: trains until it is stopped";
  std::string text;
  for (const RunLimit& limit : limits) {
    text += (text.empty() ? "ends at " : " or ") + limit.text();
    if (limit.key != "train.tokens") continue;
    const std::int64_t steps = step_limit({.tokens = train.tokens}, tokens_per_step), tokens = steps * tokens_per_step;
    text += tokens == train.tokens ? fmt::format(" ({})", counted(steps, "step"))
                                   : fmt::format(" (rounded up to {}: {} tokens)", counted(steps, "step"), tokens);
  }
  return limits.size() > 1 ? text + ", whichever comes first" : text;
}

std::string steps_line(const Config& c, const Corpus& train) {
  const std::int64_t tokens = c.train.batch_size * c.model.segment;
  const std::int64_t epoch = open_batches(c, train)->blocks_per_epoch();
  return line("steps", {fmt::format("{} x {} = {} each", c.train.batch_size, c.model.segment, counted(tokens, "token")),
                        fmt::format("{} per epoch", epoch), limits_text(c.train, tokens)});
}

double next_rate(const Config& c, const TrainingState& state) {
  const std::int64_t tokens = c.train.batch_size * c.model.segment;
  return learning_rate(c.optimizer, state.step,
                       decay_progress(c.optimizer, c.train, tokens, state.step, state.seconds));
}

// What a run has done of what limits it.
double done_of(const RunLimit& limit, const TrainingResult& r) {
  if (limit.key == "train.steps") return static_cast<double>(r.steps);
  return limit.key == "train.tokens" ? static_cast<double>(r.tokens) : r.seconds / 60;
}

// True where a run has done more than its limit asks for, by more than the rounding to whole steps.
bool is_past(const RunLimit& limit, const TrainingResult& r) {
  const double done = done_of(limit, r), of_a_step = done / static_cast<double>(std::max<std::int64_t>(1, r.steps));
  return done - limit.value >= (limit.key == "train.minutes" ? 2 : 1) * of_a_step;
}

bool is_limit(const std::string& setting) {
  return setting.starts_with("train.steps=") || setting.starts_with("train.tokens=") ||
         setting.starts_with("train.minutes=");
}

// The limit, doubled until it is beyond what the run has done.
std::string extension(RunLimit limit, const TrainingResult& r) {
  do limit.value *= 2;
  while (limit.value <= done_of(limit, r));
  std::string text = limit.text();
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  return text;
}

}  // namespace

std::string start_text(const Config& config, const Corpora& corpora, Device device, const std::string& run) {
  return model_line(config) + "\n" + size_lines(config, device) + "\n" +
         line("data", {fmt::format("{}: {}", shown(corpora.train.name()), amount(corpora.train)),
                       validation_text(config.data, corpora)}) +
         "\n" + steps_line(config, corpora.train) + "\n" + line("folder", {shown(run)});
}

std::string resume_text(const std::string& checkpoint, const Config& saved, const Config& now,
                        const TrainingState& state) {
  std::string text = fmt::format("resumed from {} (step {}, {}, {})", shown(checkpoint), state.step,
                                 counted_short(state.tokens, "token"), format_duration(state.seconds));
  std::string changes;
  for (const SettingChange& change : changed_settings(saved, now)) {
    if (change.key == "data.folder" && saved.data.folder.empty()) continue;  // older runs do not know it
    changes += fmt::format("\n  {}: {} -> {}", change.key, change.before, change.after);
    if (change.key == "train.seed") changes += " (dropout and samples from here on)";
  }
  if (changes.empty()) return text + "; no setting changed";
  const std::int64_t tokens_per_step = now.train.batch_size * now.model.segment;
  if (!state.pending && reached_limit(now.train, tokens_per_step, state.step, state.seconds))
    return text + "; nothing is left to train, so these settings stay as they were:" + changes;
  const double before = next_rate(saved, state), after = next_rate(now, state);
  if (std::abs(after - before) > 1e-3 * before)
    changes += fmt::format("\n  so the learning rate goes from {:.1e} to {:.1e} here", before, after);
  return text + "; changed:" + changes;
}

std::string excess_text(const TrainingStep::Result& result, const StepLimits& limits) {
  if (limits.allow(result.loss, result.gradient_norm)) return "the optimizer made no update";
  if (!std::isfinite(result.loss)) return "its loss is not finite";
  if (!std::isfinite(result.gradient_norm)) return "its gradient is not finite";
  if (result.loss > limits.loss)
    return fmt::format("loss {:.4g} is above the limit of {:.4g}", result.loss, limits.loss);
  return fmt::format("gradient norm {:.4g} is above the limit of {:.4g}", result.gradient_norm, limits.gradient_norm);
}

std::string diverged_text(const TrainingState& state, const Config& config, const std::string& why, double rate,
                          const CheckpointInfo& good, const std::string& resume) {
  // AdamW moves a weight by about the rate in each step; above 1e-3 few Transformers learn. SGD moves it by less.
  const double highest = config.optimizer.kind == "sgd" ? config.optimizer.lr : 1e-3;
  const double lower = std::min({rate / 10, config.optimizer.lr / 10, highest});
  std::string text = fmt::format("step {}: {}; ", state.step, why);
  if (state.rollbacks > 0)
    text += fmt::format("the run had gone back {} before (train.max_rollbacks = {}); ",
                        counted(state.rollbacks, "time"), config.train.max_rollbacks);
  text += good.path.empty() ? "no checkpoint was saved before, so begin anew"
                            : fmt::format("the last good checkpoint is {}; go on from there", shown(good.path));
  text += fmt::format(" with a lower learning rate: {} optimizer.lr={:.0e}", resume, lower);
  if (config.optimizer.min_lr > lower) text += fmt::format(" optimizer.min_lr={:.0e}", lower / 10);
  return text;
}

std::string end_text(const TrainingResult& r, const std::string& run, const std::string& device,
                     std::span<const std::string> overrides) {
  std::string text = fmt::format("{} in {:.0f} s", counted(r.steps, "step"), r.seconds);
  const bool past = r.ended_before && is_past(*r.limit, r);
  if (past) text = fmt::format("{}, {} in {:.0f} s", counted(r.steps, "step"), counted(r.tokens, "token"), r.seconds);
  if (r.limit && !past) text += ", ended by " + r.limit->text();
  if (r.validation.tokens > 0) text += ", validation " + describe(r.validation);
  if (!r.ended_before) return fmt::format("done: {}; the run is in {}", text, shown(run));
  std::string command = resume_command(run, device);
  for (const std::string& setting : overrides)
    if (!is_limit(setting)) command += " " + shell_word(setting);
  return fmt::format("this run {}: {}; nothing was trained\nto train it further: {} {}",
                     past ? fmt::format("is past {} already", r.limit->text()) : "had finished before", text, command,
                     extension(*r.limit, r));
}

}  // namespace weir
