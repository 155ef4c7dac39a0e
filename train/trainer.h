// Training: the loop, and everything around it that makes a run safe to stop and to resume.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data.h"
#include "train/evaluate.h"
#include "train/run_directory.h"
#include "train/schedule.h"
#include "train/training_setup.h"
#include "train/training_step.h"

namespace weir {

enum class Outcome { finished, stopped };

struct TrainingResult {
  Outcome outcome = Outcome::finished;
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  double seconds = 0;
  std::int64_t rollbacks = 0;     // times that the run diverged and went back
  std::optional<RunLimit> limit;  // that ended it; none where it was stopped
  bool ended_before = false;      // resumed beyond its limit: nothing was trained
  Evaluation validation;  // of the final weights; tokens = 0 where the run was stopped or has no validation text
  std::string checkpoint;
};

// What the next step will be made with.
struct StepInputs {
  const TrainingState& state;
  const ParameterSet& parameters;
  Optimizer& optimizer;
  double& learning_rate;
};

struct TrainerOptions {
  bool resume = false;
  StepMode mode = StepMode::recorded;  // how a GPU gets its work
  bool quiet = false;                  // nothing on the terminal but warnings
  Notes notes{};                       // to be said at the start
  // Asked with the number of steps made so far: before every step, and often while a model is evaluated or writes a
  // sample. Where it says so, the run is saved and train() returns; what is given up then, is done when it resumes.
  std::function<bool(std::int64_t steps)> should_stop{};
  // Called before every step. What it changes takes effect: a test sees what becomes of a run whose weights are ruined.
  std::function<void(const StepInputs&)> before_step{};
};

// Trains in `run` what was set up for it. Resuming continues from the newest valid checkpoint, bit for bit as if the
// run had not been interrupted (a schedule or limit by wall time excepted); where there is none yet it starts from the
// beginning.
//
// A run diverges where ten steps in a row have a loss or a gradient norm beyond what SpikeDetector allows or the loss
// stays above that of good weights, where an update leaves a weight or moment not finite or absurd, or where it is to
// end with weights that are not good (train/soundness.h). It then goes back to its last good checkpoint and on
// with the data after that on which it diverged, train.max_rollbacks times; after that it ends with RunError(diverged).
TrainingResult train(TrainingSetup setup, const RunDirectory& run, const TrainerOptions& options);
// What `config` says, on the CPU.
TrainingResult train(const Config& config, const RunDirectory& run, const TrainerOptions& options);

}  // namespace weir
