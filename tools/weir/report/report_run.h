// What a report needs of one run, gathered from its folder.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/model_cost.h"
#include "train/analyse.h"
#include "train/comparison.h"
#include "train/metrics_reader.h"
#include "train/run_result.h"

namespace weir {

struct PrintedSample {
  std::string step, text;
};

struct ReportRun {
  std::string path, name;  // the name is that of the folder, with as much of its path as tells it from the others
  Config config;
  ModelCost cost;
  MetricsHistory metrics;
  std::vector<PrintedSample> samples;  // the last ones
  std::optional<Analysis> analysis;    // of the newest checkpoint
  std::string missing;                 // why there is none

  double tokens_per_step() const { return static_cast<double>(config.train.batch_size * config.model.segment); }
};

struct Report {
  std::vector<ReportRun> runs;
  Comparison comparison;  // of their results
};

// Reads run folders and analyses the newest checkpoint of each on `max_tokens` tokens (0: all). Where there is no
// checkpoint or no validation text the run is reported without the analysis. Throws where a folder holds no run, or
// nothing of it but a configuration.
Report load_report(std::span<const std::string> paths, std::int64_t max_tokens);

}  // namespace weir
