// Whether the weights of a run are worth keeping: what a checkpoint has to show before it replaces an older one.
#pragma once

#include <optional>
#include <string>

#include "models/language_model.h"
#include "train/batch_source.h"
#include "train/data.h"
#include "train/evaluate.h"
#include "train/optimizer/optimizer.h"
#include "train/spike_detector.h"

namespace weir {

struct Soundness {
  bool good = false;
  double held_back_nats = 0;  // loss on the held-back data
  std::string why;            // they are not good: "the loss of the weights on held-back data is ..., that of ..."
};

// Weights are good where neither the newest steps' loss nor that on two segments of the held-back data is above
// SpikeDetector::good_loss(), and the latter has not risen by more than a nat and a half of itself since `before`, that
// of the last weights which were good. Where it has, the text may be of another kind than what was trained on, or that
// learnt by heart: then the loss of the step to come counts, without dropout, which must not be suspicious either:
// `next` is a part of its batch, `memory` what that part has seen before. With an absurd loss on held-back data they
// are never good.
Soundness judge_weights(const LanguageModel& model, const Corpus& held_back, const EvalConfig& eval,
                        std::optional<double> before, const Batch& next, const Memory& memory,
                        const SpikeDetector& detector);

// Whether no weight and nothing that the optimiser keeps is absurd or not finite, even one that no token uses now.
bool are_sound(const ParameterSet& parameters, const Optimizer& optimizer);

}  // namespace weir
