#include "train/checkpoint_keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/text.h"
#include "train/disk_space.h"
#include "train/run_directory.h"
#include "train/run_names.h"

namespace weir {
namespace {

constexpr int kMaxFailedInARow = 3;

}  // namespace

CheckpointKeeper::CheckpointKeeper(const std::string& run, const std::string& resume, const Config& config, Warn warn,
                                   std::function<void()> check_owned)
    : run_(run),
      folder_(run + "/checkpoints"),
      resume_(resume),
      config_(config),
      warn_(std::move(warn)),
      check_owned_(std::move(check_owned)) {}

void CheckpointKeeper::start_from(const CheckpointInfo& checkpoint, const TrainingState& state) {
  last_ = checkpoint;
  last_pending_ = state.pending;
  last_rollbacks_ = state.rollbacks;
}

bool CheckpointKeeper::has(const TrainingState& state) const {
  return last_.step == state.step && last_pending_ == state.pending && last_rollbacks_ == state.rollbacks;
}

void CheckpointKeeper::save(const ParameterSet& parameters, const Optimizer& optimizer, const TrainingState& state,
                            Failure failure) {
  try {
    try_to_save(parameters, optimizer, state, failure);
  } catch (const RunFolderGone& gone) {
    save_elsewhere(gone, parameters, optimizer, state);
  }
}

// The folder is still locked by this process, whatever its name. Older checkpoints stay: whoever resumes goes on from
// the newest.
void CheckpointKeeper::save_elsewhere(const RunFolderGone& gone, const ParameterSet& parameters,
                                      const Optimizer& optimizer, const TrainingState& state) {
  if (has(state) || gone.now_at().empty()) throw gone;
  const std::string folder = gone.now_at() + "/checkpoints";
  try {
    remove_checkpoints_after(folder, last_.step);
    start_from({save_checkpoint(folder, config_, parameters, optimizer, state), state.step}, state);
  } catch (const RunError& error) {
    throw RunFolderGone(fmt::format("{}, where step {} could not be saved: {}", gone.what(), state.step, error.what()),
                        gone.now_at());
  }
  throw gone;
}

std::string CheckpointKeeper::gone_text(const RunFolderGone& gone, std::int64_t step) const {
  std::string text = gone.what();
  if (gone.now_at().empty()) return text;
  if (last_.step == step)
    text += fmt::format("; step {}, the last one, is saved there", step);
  else if (last_.step >= 0)
    text += fmt::format("; what was trained after step {}, the last one that was saved, is lost", last_.step);
  else
    text += "; nothing was saved yet, so what was trained is lost";
  return fmt::format("{}; continue with: {}", text, resume_command(gone.now_at()));
}

void CheckpointKeeper::try_to_save(const ParameterSet& parameters, const Optimizer& optimizer,
                                   const TrainingState& state, Failure failure) {
  check_owned_();
  if (has(state)) return;
  try {
    // Later ones were found damaged when the run resumed; they must not count among those that are kept.
    remove_checkpoints_after(folder_, last_.step);
    start_from({save_checkpoint(folder_, config_, parameters, optimizer, state), state.step}, state);
  } catch (const RunError& error) {
    if (error.code() != ExitCode::io) throw;
    check_owned_();
    failed(error.what(), state.step, failure);
    return;
  }
  failed_in_a_row_ = 0;
  try {
    prune_checkpoints(folder_, config_.checkpoint.keep_last, config_.checkpoint.keep_best ? state.best_step : -1);
  } catch (const RunError& error) {
    warn_(fmt::format("{}; so the older checkpoints stay until the next save", error.what()));
  }
}

bool CheckpointKeeper::roll_back(const ParameterSet& parameters, Optimizer& optimizer, TrainingState& state) {
  const std::vector<CheckpointInfo> all = list_checkpoints(folder_);
  const auto before = std::find_if(all.begin(), all.end(), [&](const auto& c) { return c.step < last_.step; });
  if (last_.step >= 0 && came_back_to_ == last_.step && before != all.end())
    remove_checkpoints_after(folder_, before->step);
  const auto newest = newest_valid_checkpoint(run_);
  if (!newest) return false;
  load_checkpoint(newest->path, parameters, optimizer, state);
  start_from(*newest, state);
  came_back_to_ = newest->step;
  return true;
}

void CheckpointKeeper::failed(const std::string& why, std::int64_t step, Failure failure) {
  ++failed_in_a_row_;
  const std::string what = fmt::format("{}; so step {} could not be saved (a checkpoint takes about {})", why, step,
                                       byte_size(disk_need(config_).checkpoint));
  if (failure == Failure::ends_the_run) throw RunError(ExitCode::io, what + ", and training ends here");
  if (failed_in_a_row_ == kMaxFailedInARow)
    throw RunError(ExitCode::io, fmt::format("{}, the third time in a row, so training ends at step {}", what, step));
  warn_(fmt::format("{}; training goes on and tries again at the next save", what));
}

std::string CheckpointKeeper::what_there_is() const {
  std::error_code ignored;
  if (!std::filesystem::exists(last_.path.empty() ? run_ : last_.path, ignored)) return "";
  if (last_.path.empty()) return fmt::format("nothing was saved yet; begin anew with: {}", resume_);
  return fmt::format("the last checkpoint is {}; continue with: {}", printable(last_.path, 4096), resume_);
}

}  // namespace weir
