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
  bool quiet = false;                   // no progress, no samples on the terminal
  std::function<bool()> should_stop{};  // asked after every step
};

// Trains as `config` says, in `run`. Resuming continues from the newest valid checkpoint, bit for bit as if the run had
// not been interrupted (a schedule or limit by wall time excepted); where there is none yet it starts from the
// beginning.
TrainingResult train(const Config& config, const RunDirectory& run, const TrainerOptions& options);

// One update of a model: the loss and gradient of each group of streams, clipping, AdamW. What `weir bench step` times.
class TrainingStep {
 public:
  TrainingStep(const Config& config, const TransformerXl& model);

  struct Result {
    double loss = 0;  // nats per token, without regularisers
    double auxiliary_loss = 0;
    double gradient_norm = 0;  // before clipping
    bool applied = false;      // false where the gradient was not finite: weights and moments are untouched
    std::vector<FeedforwardStatistics> statistics;  // per layer, of the last group
  };
  // `read(group)` gives the batch of a group of streams; `memories` are replaced by their successors.
  Result operator()(const std::function<Batch(std::int64_t)>& read, std::vector<Memory>& memories, std::int64_t step,
                    double learning_rate, bool collect_statistics);

  AdamW& optimizer() { return optimizer_; }

 private:
  const Config& config_;
  const TransformerXl& model_;
  AdamW optimizer_;
};

}  // namespace weir
