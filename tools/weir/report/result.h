// The figure by which a run is judged, and its feedforward in words.
#pragma once

#include <optional>
#include <string>

#include "tools/weir/report/report_run.h"

namespace weir {

struct RunResult {
  std::string unit;  // "bits per byte", "nats per token"
  double last, best;
  std::int64_t best_step;
};
std::optional<RunResult> result_of(const ReportRun& run);  // nothing where the run was not evaluated

// "σ-MoE, 8 experts of 64, 2 per token"; "dense, 513 hidden units".
std::string feedforward_text(const FeedforwardConfig& config);

}  // namespace weir
