// What a report needs of one run, gathered from its folder.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/model_cost.h"
#include "train/analyse.h"
#include "train/metrics_reader.h"
#include "train/run_result.h"

namespace weir {

struct TextSample {
  std::string step, text;
};

struct ReportRun {
  std::string path, name;  // the name is that of the folder
  Config config;
  ModelCost cost;
  MetricsHistory metrics;
  std::vector<TextSample> samples;   // the last ones
  std::optional<Analysis> analysis;  // of the newest checkpoint
  std::string missing;               // why there is none

  double tokens_per_step() const { return static_cast<double>(config.train.batch_size * config.model.segment); }
};

// Reads a run folder and analyses its newest checkpoint on `max_tokens` tokens (0: all). Where there is no checkpoint
// or no validation text the run is reported without the analysis. Throws where the folder holds no run, or nothing of
// it but a configuration.
ReportRun load_report_run(const std::string& path, std::int64_t max_tokens);

}  // namespace weir
