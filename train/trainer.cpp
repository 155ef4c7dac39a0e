#include "train/trainer.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <numbers>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/checkpoint_keeper.h"
#include "train/data_watch.h"
#include "train/disk_space.h"
#include "train/divergence_watch.h"
#include "train/expert_metrics.h"
#include "train/generate.h"
#include "train/metrics.h"
#include "train/preconditions.h"
#include "train/progress.h"
#include "train/run_lookup.h"
#include "train/run_messages.h"
#include "train/run_names.h"
#include "train/samples_log.h"
#include "train/schedule.h"
#include "train/tensorboard.h"

namespace weir {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class Trainer {
 public:
  Trainer(TrainingSetup setup, const RunDirectory& run, const TrainerOptions& options)
      : setup_(std::move(setup)),
        run_(run),
        options_(options),
        train_watch_(corpora_.train),
        tokens_per_step_(config_.train.batch_size * config_.model.segment),
        watch_(config_, model_, corpora_, batches_),
        keeper_(run.path(), resume_command(run.path(), device_name(setup_.device)), config_, warn_on_stderr,
                [&run] { run.check_owned(); }),
        progress_(standard_output()) {
    model_.initialise(static_cast<std::uint64_t>(config_.train.seed), DType::float32, setup_.device);
    update_.emplace(config_, model_, options.mode);
    if (corpora_.valid.stamps() != corpora_.train.stamps()) valid_watch_.emplace(corpora_.valid);
    if (options.resume) restore();
    ended_before_ = ended();
    if (!ended_before_) say(start_text(config_, corpora_, setup_.device, run.path()));
    for (const std::string& note : options.notes) say("note: " + note);
    if (!resumption_.empty()) say(resumption_);
    state_.data_tokens = corpora_.train.size();
    state_.data_checksum = train_watch_.checksum();
    // The configuration is the first file of a run: where it stands, the others are the run's own.
    if (!ended_before_) write_file_atomically(run.file("config.toml"), to_toml(config_));
    keep_tokenizer();
    if (!ended_before_) open_logs();  // or else its files stay as they are
  }

  // What ends a run for the file system's sake also says what was saved.
  TrainingResult run() {
    try {
      return train_or_stop();
    } catch (const RunFolderGone& gone) {  // when nothing was to be saved
      throw RunError(gone.code(), keeper_.gone_text(gone, state_.step));
    } catch (const RunError& error) {
      const std::string saved = keeper_.what_there_is();
      if (error.code() != ExitCode::io || ended_before_ || saved.empty()) throw;
      throw RunError(error.code(), fmt::format("{}; {}", error.what(), saved));
    }
  }

 private:
  struct Stop {};

  TrainingResult train_or_stop() {
    session_started_ = now();
    started_ = session_started_ - state_.seconds;
    try {
      if (ended_before_) {
        measure();
      } else {
        do train_to_the_limit();
        while (!finish());
        check_complete();
      }
    } catch (const Stop&) {
      return stop();
    }
    progress_.finish();
    return {Outcome::finished, state_.step,   state_.tokens,    state_.seconds,     state_.rollbacks,
            reached(),         ended_before_, last_validation_, keeper_.last().path};
  }

  void stop_if_asked() const {
    if (options_.should_stop && options_.should_stop(state_.step)) throw Stop();
  }

  void train_to_the_limit() {
    while (!finished()) {
      if (!state_.pending) {
        stop_if_asked();
        if (!step_or_roll_back()) continue;
      }
      do_what_is_due();
    }
  }

  // False where the weights that the run came to are not sound, so that it went back.
  bool finish() {
    state_.pending = true;
    validate();
    if (config_.sample.every > 0) sample();
    state_.pending = false;
    return save(Save::last);
  }

  // Pending until then: whoever is stopped on the way does it when the run resumes.
  void do_what_is_due() {
    state_.pending = due(config_.eval.every) || due(config_.sample.every);
    const bool best = due(config_.eval.every) && validate();
    if (due(config_.sample.every)) sample();
    state_.pending = false;
    if (due(config_.checkpoint.every) || (best && config_.checkpoint.keep_best)) save(Save::due);
  }

  std::optional<RunLimit> reached() const {
    return reached_limit(config_.train, tokens_per_step_, state_.step, state_.seconds);
  }
  bool finished() const { return reached().has_value(); }
  bool ended() const { return finished() && !state_.pending; }  // the last evaluation is done as well
  bool due(std::int64_t every) const { return every > 0 && state_.step % every == 0 && !finished(); }

  // A run that was begun before goes on with the copy that it has.
  void keep_tokenizer() {
    const RunDirectory::KeptTokenizer kept = run_.keep_tokenizer(corpora_.train);
    state_.tokenizer = kept.name;
    if (kept.was_there) setup_.tokenizer = open_tokenizer(run_.file(kept.name));
  }

  void restore() {
    remove_unfinished_checkpoints(run_.checkpoints());
    if (const auto newest = newest_valid_checkpoint(run_.path())) {
      const Config saved = checkpoint_config(newest->path);
      check_settings_unchanged(saved, config_, run_.path());
      load_checkpoint(newest->path, model_.parameters(), update_->optimizer(), state_);
      watch_.set_accepted(state_.accepted);
      // What was changed may be the cure.
      if (!changed_settings(saved, config_).empty()) state_.rollbacks = 0;
      check_state_fits(state_, newest->path, setup_, train_watch_.checksum());
      keeper_.start_from(*newest, state_);
      if (!ended() || !changed_settings(saved, config_).empty())
        resumption_ = resume_text(newest->path, saved, config_, state_);
    } else {
      resumption_ = fmt::format("{} holds no checkpoint yet: starting from step 0", printable(run_.path(), 4096));
    }
  }

  void open_logs() {
    metrics_.emplace(run_.file("metrics.jsonl"), state_.step + 1, warn_on_stderr, state_.pending);
    samples_.emplace(run_.file("samples.txt"), state_.pending ? state_.step : state_.step + 1);
    events_.emplace(run_.path(), state_.step > 0 ? std::optional(state_.step + 1) : std::nullopt);
  }

  // False where the step showed that the run diverges, so that it went back.
  bool step_or_roll_back() {
    const TrainingStep::Result result = step();
    report(result);
    const std::string bad = watch_.look_at(result, state_);
    if (!bad.empty()) say(fmt::format("step {}: {}{}", state_.step, result.applied ? "" : "skipped: ", bad));
    const std::string divergence = watch_.divergence(result, state_, bad);
    if (!divergence.empty()) roll_back(divergence);
    return divergence.empty();
  }

  TrainingStep::Result step() {
    learning_rate_ = learning_rate();
    if (options_.before_step) options_.before_step({state_, model_.parameters(), update_->optimizer(), learning_rate_});
    const std::int64_t group_size = config_.train.batch_size / config_.train.accumulate;
    const auto read = [&](std::int64_t group) {
      return batches_.read({state_.epoch, state_.block}, group * group_size, group_size);
    };
    const double before = now();
    TrainingStep::Result result =
        (*update_)(read, state_.memories, state_.step, learning_rate_, logging(state_.step + 1), watch_.limits());
    tokens_per_second_ = smoothed(static_cast<double>(tokens_per_step_) / (now() - before));
    ++state_.step;
    ++steps_made_;
    state_.tokens += tokens_per_step_;
    const BatchPlace next = batches_.next({state_.epoch, state_.block});
    // What attention remembers of a bad step would spoil all that come.
    if (!result.applied || next.epoch != state_.epoch || !batches_.is_continuous()) state_.memories.clear();
    state_.epoch = next.epoch;
    state_.block = next.block;
    state_.seconds = now() - started_;
    return result;
  }

  // To the last good checkpoint, or to the beginning, and on with the data after that on which the run diverged.
  void roll_back(const std::string& why) {
    run_.check_owned();
    const TrainingState diverged = state_;
    if (diverged.rollbacks >= config_.train.max_rollbacks)
      throw RunError(ExitCode::diverged,
                     diverged_text(state_, config_, why + "; " + watch_.first_fault(state_), learning_rate_,
                                   keeper_.last(), resume_command(run_.path(), device_name(setup_.device))));
    if (!keeper_.roll_back(model_.parameters(), update_->optimizer(), state_)) begin_anew();
    state_.epoch = diverged.epoch;
    state_.block = diverged.block;
    state_.memories.clear();
    state_.rollbacks = diverged.rollbacks + 1;
    watch_.set_accepted(state_.accepted);
    open_logs();
    progress_.finish();
    warn_on_stderr(
        fmt::format("step {}: {}; the run goes back to the weights of step {} and on with other data "
                    "(roll-back {} of train.max_rollbacks = {})",
                    diverged.step, why, state_.step, state_.rollbacks, config_.train.max_rollbacks));
    write_checkpoint(Save::due);  // so that a run which is killed goes on from here
  }

  void begin_anew() {
    model_.parameters().initialise(static_cast<std::uint64_t>(config_.train.seed));
    update_->optimizer().forget();
    TrainingState fresh;
    fresh.data_tokens = state_.data_tokens;
    fresh.data_checksum = state_.data_checksum;
    fresh.tokenizer = state_.tokenizer;
    state_ = fresh;
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
    // The mean over the steps made in this session, evaluations and saves included: also those that were lost when the
    // run went back.
    const double by_steps =
        (now() - session_started_) / static_cast<double>(steps_made_) * static_cast<double>(limit - state_.step);
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

  // What the run has promised is there.
  void check_complete() {
    run_.check_complete(keeper_.last().path);
    metrics_->check();
    samples_->check();
  }

  bool has_validation() const { return corpora_.valid.size() > 0; }

  void measure() {
    (valid_watch_ ? *valid_watch_ : train_watch_).check();
    if (has_validation())
      last_validation_ = evaluate(model_, corpora_.valid, config_.eval, nullptr, [this] { stop_if_asked(); });
  }

  // True where the loss is the lowest so far.
  bool validate() {
    if (!has_validation()) return false;
    measure();
    std::vector<Metric> metrics;
    append_quality(metrics, "valid", last_validation_);
    metrics.push_back({"valid/tokens", static_cast<double>(last_validation_.tokens)});
    metrics.push_back({"valid/streams", static_cast<double>(last_validation_.batch_size)});
    metrics.push_back({"train/tokens", static_cast<double>(state_.tokens)});
    metrics.push_back({"train/seconds", now() - started_});
    metrics_->write(state_.step, metrics);
    events_->write(state_.step, metrics);
    say(fmt::format("step {}: validation {} ({}, memory {}, batch {})", state_.step, describe(last_validation_),
                    counted(last_validation_.tokens, "token"), last_validation_.memory, last_validation_.batch_size));
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
                                  .context = context_from(corpora_.valid, config_.model),
                                  .before_token = [this] { stop_if_asked(); }};
    const std::string text =
        printable_text(config_.sample.prompt + generate(model_, *setup_.tokenizer, config_.sample.prompt, options));
    samples_->write(state_.step, text);
    events_->write_text(state_.step, "sample", text);
  }

  enum class Save { due, last };

  // Saves good weights. Others wait for the next save, for the steps to come show whether the run recovers; where none
  // will come the run goes back, and this returns false.
  bool save(Save which) {
    if (keeper_.has(state_)) return true;
    Soundness found = watch_.judge(state_);
    if (!are_sound(model_.parameters(), update_->optimizer()))
      found = {.good = false,
               .held_back_nats = 0,
               .why = "the weights or the state of the optimizer are not finite, or absurdly large"};
    if (found.good) {
      state_.held_back_nats = found.held_back_nats;
      write_checkpoint(which);
      return true;
    }
    if (which == Save::last) {
      roll_back(found.why);
      return false;
    }
    if (!std::exchange(told_of_no_save_, true)) {
      progress_.finish();
      warn_on_stderr(fmt::format("step {}: not saved: {}", state_.step, found.why));
    }
    return true;
  }

  void write_checkpoint(Save which) {
    train_watch_.check();
    state_.seconds = now() - started_;
    TrainingState state = state_;
    state.accepted = watch_.accepted();
    told_of_no_save_ = false;
    keeper_.save(model_.parameters(), update_->optimizer(), state,
                 which == Save::last ? CheckpointKeeper::Failure::ends_the_run : CheckpointKeeper::Failure::warns);
  }

  TrainingResult stop() {
    if (!save(Save::last)) write_checkpoint(Save::last);
    run_.check_owned();
    progress_.finish();
    return {Outcome::stopped,   state_.step, state_.tokens, state_.seconds, state_.rollbacks, {}, false, {},
            keeper_.last().path};
  }

  void say(const std::string& text) {
    if (!options_.quiet) progress_.message(printable_text(text));
  }

  TrainingSetup setup_;
  const Config& config_ = setup_.config;
  const Corpora& corpora_ = setup_.corpora;
  const BatchSource& batches_ = *setup_.batches;
  LanguageModel& model_ = *setup_.model;
  const RunDirectory& run_;
  const TrainerOptions& options_;
  DataWatch train_watch_;
  std::optional<DataWatch> valid_watch_;  // none where it is the same files
  const std::int64_t tokens_per_step_;
  std::optional<TrainingStep> update_;
  TrainingState state_;
  DivergenceWatch watch_;
  CheckpointKeeper keeper_;
  std::optional<MetricsLog> metrics_;
  std::optional<SamplesLog> samples_;
  std::optional<EventWriter> events_;
  ProgressLine progress_;
  Evaluation last_validation_;
  std::string resumption_;
  bool ended_before_ = false, told_of_no_save_ = false;
  std::int64_t steps_made_ = 0;  // in this session
  double started_ = 0, session_started_ = 0, tokens_per_second_ = 0, learning_rate_ = 0;
};

}  // namespace

TrainingResult train(TrainingSetup setup, const RunDirectory& run, const TrainerOptions& options) {
  if (!options.resume && !list_checkpoints(run.checkpoints()).empty())
    throw ArgumentError(
        fmt::format("{}: there are checkpoints here already, which a new run would remove; choose "
                    "another folder, or continue with: {}",
                    printable(run.path(), 4096), resume_command(run.path())));
  check_disk_space(setup.config, run.path(), holds_run(run.path()));
  return Trainer(std::move(setup), run, options).run();
}

TrainingResult train(const Config& config, const RunDirectory& run, const TrainerOptions& options) {
  const bool goes_on = options.resume && holds_run(run.path());
  return train(TrainingSetup(config, {}, goes_on ? run.path() : ""), run, options);
}

}  // namespace weir
