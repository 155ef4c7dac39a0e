// Training: the loop, and everything around it that makes a run safe to stop and to resume.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data.h"
#include "train/evaluate.h"
#include "train/run_directory.h"
#include "train/training_step.h"

namespace weir {

enum class Outcome { finished, stopped };

struct TrainingResult {
  Outcome outcome = Outcome::finished;
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  double seconds = 0;
  Evaluation validation;  // of the final weights; tokens = 0 where the run was stopped or has no validation text
  std::string checkpoint;
};

struct TrainerOptions {
  bool resume = false;
  StepMode mode = StepMode::recorded;   // how a GPU gets its work
  Device device{};                      // where the model lives; a run may go on elsewhere
  bool quiet = false;                   // no progress, no samples on the terminal
  std::function<bool()> should_stop{};  // asked after every step
};

// Trains as `config` says, in `run`. Resuming continues from the newest valid checkpoint, bit for bit as if the run had
// not been interrupted (a schedule or limit by wall time excepted); where there is none yet it starts from the
// beginning.
TrainingResult train(const Config& config, const RunDirectory& run, const TrainerOptions& options);

}  // namespace weir
