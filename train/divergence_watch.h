// Watches a run as it trains: whether a step was bad, whether weights are good, and when the run has diverged.
#pragma once

#include <string>

#include "train/batch_source.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data.h"
#include "train/soundness.h"
#include "train/spike_detector.h"
#include "train/training_step.h"

namespace weir {

class DivergenceWatch {
 public:
  // All of which outlive this.
  DivergenceWatch(const Config& config, const LanguageModel& model, const Corpora& corpora, const BatchSource& batches);

  StepLimits limits() const { return detector_.limits(); }

  // Looks at a step that was made within limits(); `state` is what it led to. Says what of the step was bad, or
  // nothing: it was skipped, or the weights prove to be harmed where its loss made that a question (the text may be to
  // blame as well). Counts in state.bad_in_a_row.
  std::string look_at(const TrainingStep::Result& result, TrainingState& state);
  // Why the run has diverged, or nothing: after look_at(), whose answer is `bad`.
  std::string divergence(const TrainingStep::Result& result, const TrainingState& state, const std::string& bad) const;

  Soundness judge(const TrainingState& state) const;          // the model's weights as they are
  std::string first_fault(const TrainingState& state) const;  // of the step that led to `state`, made again

  const SpikeDetector::Window& accepted() const { return detector_.window(); }
  void set_accepted(const SpikeDetector::Window& window) { detector_.set_window(window); }

 private:
  // What comes first in a step of the run.
  Batch first_group(const BatchPlace& place) const;

  const Config& config_;
  const LanguageModel& model_;
  const Corpus& held_back_;
  const BatchSource& batches_;
  SpikeDetector detector_;
};

}  // namespace weir
