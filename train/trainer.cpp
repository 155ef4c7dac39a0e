#include "train/trainer.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/expert_metrics.h"
#include "train/generate.h"
#include "train/metrics.h"
#include "train/preconditions.h"
#include "train/progress.h"
#include "train/schedule.h"
#include "train/tensorboard.h"

namespace weir {
namespace {

constexpr std::int64_t kMaxSkippedInARow = 10;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class Trainer {
 public:
  Trainer(const Config& config, const RunDirectory& run, const TrainerOptions& options)
      : config_(config),
        run_(run),
        options_(options),
        corpora_(open_corpora(config.data)),
        reader_(corpora_.train, config.train.batch_size, config.model.segment, "train.batch_size"),
        model_(config.model, config.feedforward),
        tokens_per_step_(config.train.batch_size * config.model.segment),
        progress_(stdout) {
    model_.initialise(static_cast<std::uint64_t>(config.train.seed), DType::float32, options.device);
    update_.emplace(config_, model_, options.mode);
    const std::string data_checksum = corpora_.train.checksum();
    if (options.resume) restore(data_checksum);
    state_.data_tokens = corpora_.train.size();
    state_.data_checksum = data_checksum;
    state_.tokenizer = run.keep_tokenizer(corpora_.train);
    tokenizer_ = open_tokenizer(state_.tokenizer == "bytes" ? "bytes" : run.file(state_.tokenizer));
    write_file_atomically(run.file("config.toml"), to_toml(config));
    metrics_.emplace(run.file("metrics.jsonl"), state_.step + 1);
    events_.emplace(run.path(), state_.step > 0 ? std::optional(state_.step + 1) : std::nullopt);
  }

  TrainingResult run() {
    started_ = now() - state_.seconds;
    const bool ended_before = finished();
    while (!finished()) {
      const TrainingStep::Result result = step();
      report(result);
      const bool best = due(config_.eval.every) && validate();
      if (due(config_.sample.every)) sample();
      if (due(config_.checkpoint.every) || (best && config_.checkpoint.keep_best)) save();
      if (!finished() && options_.should_stop && options_.should_stop()) return stop();
    }
    if (ended_before) {
      measure();
    } else {
      validate();
      save();
    }
    progress_.finish();
    return {Outcome::finished, state_.step, state_.tokens, state_.seconds, last_validation_, last_saved_};
  }

 private:
  bool finished() const {
    const std::int64_t limit = step_limit(config_.train, tokens_per_step_);
    return (limit > 0 && state_.step >= limit) ||
           (config_.train.minutes > 0 && state_.seconds >= 60 * config_.train.minutes);
  }
  bool due(std::int64_t every) const { return every > 0 && state_.step % every == 0 && !finished(); }

  void restore(const std::string& data_checksum) {
    remove_unfinished_checkpoints(run_.checkpoints());
    if (const auto newest = newest_valid_checkpoint(run_.path())) {
      check_settings_unchanged(checkpoint_config(newest->path), config_, run_.path());
      load_checkpoint(newest->path, model_.parameters(), update_->optimizer(), state_);
      check_state_fits(state_, config_, newest->path, corpora_.train, data_checksum);
      last_saved_ = newest->path;
      saved_step_ = state_.step;
      say(fmt::format("resumed from {} (step {})", newest->path, state_.step));
    } else {
      say(fmt::format("{} holds no checkpoint yet: starting from step 0", run_.path()));
    }
  }

  TrainingStep::Result step() {
    learning_rate_ = learning_rate();
    const std::int64_t group_size = config_.train.batch_size / config_.train.accumulate;
    const auto read = [&](std::int64_t group) { return reader_.read(state_.block, group * group_size, group_size); };
    const double before = now();
    TrainingStep::Result result =
        (*update_)(read, state_.memories, state_.step, learning_rate_, logging(state_.step + 1));
    tokens_per_second_ = smoothed(static_cast<double>(tokens_per_step_) / (now() - before));
    state_.skipped_in_a_row = result.applied ? 0 : state_.skipped_in_a_row + 1;
    ++state_.step;
    state_.tokens += tokens_per_step_;
    if (++state_.block == reader_.blocks_per_stream()) {
      ++state_.epoch;
      state_.block = 0;
      state_.memories.clear();
    }
    state_.seconds = now() - started_;
    if (state_.skipped_in_a_row >= kMaxSkippedInARow)
      throw RunError(ExitCode::diverged,
                     fmt::format("step {}: the loss or gradient was not finite in {} steps in a row (loss {}, gradient "
                                 "norm {}); the last good weights are in {}; lower optimizer.lr or optimizer.clip",
                                 state_.step, state_.skipped_in_a_row, result.loss, result.gradient_norm,
                                 last_saved_.empty() ? "no checkpoint yet" : last_saved_));
    return result;
  }

  double learning_rate() const {
    return weir::learning_rate(
        config_.optimizer, state_.step,
        decay_progress(config_.optimizer, config_.train, tokens_per_step_, state_.step, state_.seconds));
  }

  bool logging(std::int64_t step) const { return step == 1 || step % config_.train.log_every == 0; }

  double smoothed(double rate) const { return tokens_per_second_ == 0 ? rate : 0.9 * tokens_per_second_ + 0.1 * rate; }

  double seconds_left() const {
    const std::int64_t limit = step_limit(config_.train, tokens_per_step_);
    const double by_time = config_.train.minutes > 0 ? 60 * config_.train.minutes - state_.seconds : -1;
    if (limit == 0) return by_time;
    // The mean over the run so far, evaluations and saves included.
    const double by_steps =
        state_.seconds / static_cast<double>(state_.step) * static_cast<double>(limit - state_.step);
    return by_time < 0 ? by_steps : std::min(by_time, by_steps);
  }

  void report(const TrainingStep::Result& result) {
    const bool is_bytes = corpora_.train.is_bytes();
    if (!options_.quiet)
      progress_.update({.step = state_.step,
                        .steps = step_limit(config_.train, tokens_per_step_),
                        .loss = result.loss,
                        .is_bytes = is_bytes,
                        .learning_rate = learning_rate_,
                        .tokens_per_second = tokens_per_second_,
                        .gradient_norm = result.gradient_norm,
                        .seconds_left = seconds_left()},
                       logging(state_.step));
    if (!result.applied) say(fmt::format("step {}: skipped, the gradient is not finite", state_.step));
    if (!logging(state_.step)) return;
    std::vector<Metric> metrics = {{"train/loss", result.loss},
                                   is_bytes ? Metric{"train/bits_per_byte", result.loss / std::numbers::ln2}
                                            : Metric{"train/perplexity", std::exp(result.loss)},
                                   {"train/auxiliary_loss", result.auxiliary_loss},
                                   {"train/gradient_norm", result.gradient_norm},
                                   {"train/learning_rate", learning_rate_},
                                   {"train/tokens", static_cast<double>(state_.tokens)},
                                   {"train/seconds", state_.seconds},
                                   {"train/tokens_per_second", tokens_per_second_}};
    append_expert_metrics(metrics, result.statistics);
    metrics_->write(state_.step, metrics);
    events_->write(state_.step, metrics);
  }

  bool has_validation() const { return corpora_.valid.size() > 0; }

  void measure() {
    if (has_validation()) last_validation_ = evaluate(model_, corpora_.valid, config_.eval);
  }

  // True where the loss is the lowest so far.
  bool validate() {
    if (!has_validation()) return false;
    measure();
    std::vector<Metric> metrics;
    append_quality(metrics, "valid", last_validation_);
    metrics.push_back({"train/tokens", static_cast<double>(state_.tokens)});
    metrics.push_back({"train/seconds", now() - started_});
    metrics_->write(state_.step, metrics);
    events_->write(state_.step, metrics);
    say(fmt::format("step {}: validation {} ({} tokens, memory {}, batch {})", state_.step, describe(last_validation_),
                    last_validation_.tokens, last_validation_.memory, last_validation_.batch_size));
    const double nats = last_validation_.nats_per_token;
    if (!std::isfinite(nats) || (state_.best_step >= 0 && nats >= state_.best_nats)) return false;
    state_.best_nats = nats;
    state_.best_step = state_.step;
    return true;
  }

  void sample() {
    const GenerateOptions options{.tokens = config_.sample.tokens,
                                  .temperature = config_.sample.temperature,
                                  .top_k = config_.sample.top_k,
                                  .seed = static_cast<std::uint64_t>(config_.train.seed),
                                  .context = context_from(corpora_.valid, config_.model)};
    const std::string text =
        printable_text(config_.sample.prompt + generate(model_, *tokenizer_, config_.sample.prompt, options));
    AppendFile(run_.file("samples.txt"), warn_on_stderr).append(fmt::format("--- step {}\n{}\n", state_.step, text));
    events_->write_text(state_.step, "sample", text);
  }

  // A step is saved once: replacing its checkpoint would leave a moment without it.
  void save() {
    if (saved_step_ == state_.step) return;
    // Later ones were found damaged when the run resumed; they must not count among those that are kept.
    remove_checkpoints_after(run_.checkpoints(), saved_step_);
    TrainingState state = state_;
    state.seconds = now() - started_;
    last_saved_ = save_checkpoint(run_.checkpoints(), config_, model_.parameters(), update_->optimizer(), state);
    saved_step_ = state_.step;
    prune_checkpoints(run_.checkpoints(), config_.checkpoint.keep_last,
                      config_.checkpoint.keep_best ? state_.best_step : -1);
  }

  TrainingResult stop() {
    save();
    progress_.finish();
    return {Outcome::stopped, state_.step, state_.tokens, state_.seconds, {}, last_saved_};
  }

  void say(const std::string& text) {
    if (!options_.quiet) progress_.message(printable_text(text));
  }

  const Config config_;
  const RunDirectory& run_;
  const TrainerOptions& options_;
  const Corpora corpora_;
  const StreamReader reader_;
  TransformerXl model_;
  const std::int64_t tokens_per_step_;
  std::optional<TrainingStep> update_;
  TrainingState state_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  std::optional<MetricsLog> metrics_;
  std::optional<EventWriter> events_;
  ProgressLine progress_;
  Evaluation last_validation_;
  std::string last_saved_;
  std::int64_t saved_step_ = -1;  // of last_saved_
  double started_ = 0, tokens_per_second_ = 0, learning_rate_ = 0;
};

}  // namespace

TrainingResult train(const Config& config, const RunDirectory& run, const TrainerOptions& options) {
  return Trainer(config, run, options).run();
}

}  // namespace weir
