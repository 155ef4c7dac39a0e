// The analyses of the paper on a trained model: what its feedforwards do on the validation text.
#pragma once

#include <string>
#include <vector>

#include "train/evaluate.h"

namespace weir {

struct Analysis {
  std::string checkpoint, data;  // paths
  Evaluation evaluation;
  std::vector<FeedforwardStatistics> layers;  // over all tokens of the evaluation
};

// Evaluates the newest sound checkpoint of a run folder on the run's validation text, with the run's eval settings but
// for `max_tokens` (0: all). Throws where there is no such checkpoint or no validation text.
Analysis analyse_run(const std::string& run, std::int64_t max_tokens);

}  // namespace weir
