// The checkpoints of a run in training: which are saved, which go, what happens where saving fails, and the way back.
//
// Only weights that were found sound are given to save() (train/soundness.h), so all checkpoints are good ones, and as
// one is always kept the last good one stays.
//
// A save that the file system refuses is a warning: training goes on, and the next save tries again. Three in a row end
// the run with 74, and so does one at the end of a run or at a stop, after which nothing would try again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "train/append_file.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/run_lock.h"

namespace weir {

class CheckpointKeeper {
 public:
  // Of the run in folder `run`, which `resume` goes on with: "weir train --resume RUN". `check_owned` throws where that
  // folder is not the run's any more: it is asked before a save, and again where one failed. Where the folder was
  // moved, the save goes to its new place, and ends the run.
  CheckpointKeeper(
      const std::string& run, const std::string& resume, const Config& config, Warn warn = warn_on_stderr,
      std::function<void()> check_owned = [] {});

  // What the run goes on from, and its state. Later ones were found damaged: they go with the next save.
  void start_from(const CheckpointInfo& checkpoint, const TrainingState& state);

  enum class Failure { warns, ends_the_run };
  // True where that state was saved. A step is saved once, or again when what was pending is done, or when the run came
  // back to it.
  bool has(const TrainingState& state) const;
  // Older ones go as the configuration says.
  void save(const ParameterSet& parameters, const Optimizer& optimizer, const TrainingState& state, Failure failure);

  // What ends a run at `step` whose folder is gone: where it is, what was saved, and how to go on.
  std::string gone_text(const RunFolderGone& gone, std::int64_t step) const;

  // Loads the newest checkpoint; where the run came back to that one before, it is removed and the one before it
  // loaded, if there is one. False where there is none at all, and nothing is changed.
  bool roll_back(const ParameterSet& parameters, Optimizer& optimizer, TrainingState& state);

  // The newest one; step -1 and no path where there is none.
  const CheckpointInfo& last() const { return last_; }

  // For the error that ends a run: "the last checkpoint is ...; continue with: ...". Empty where the run's folder is
  // not where it was.
  std::string what_there_is() const;

 private:
  void try_to_save(const ParameterSet& parameters, const Optimizer& optimizer, const TrainingState& state,
                   Failure failure);
  [[noreturn]] void save_elsewhere(const RunFolderGone& gone, const ParameterSet& parameters,
                                   const Optimizer& optimizer, const TrainingState& state);
  void failed(const std::string& why, std::int64_t step, Failure failure);

  const std::string run_, folder_, resume_;
  const Config& config_;
  const Warn warn_;
  const std::function<void()> check_owned_;
  CheckpointInfo last_{.path = {}, .step = -1};
  bool last_pending_ = false;
  std::int64_t last_rollbacks_ = 0;
  std::int64_t came_back_to_ = -1;  // step of a checkpoint
  int failed_in_a_row_ = 0;
};

}  // namespace weir
