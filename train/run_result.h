// What a run's metrics say about its validation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "train/metrics_reader.h"

namespace weir {

struct ValidationResult {
  std::int64_t step = 0;
  double nats_per_token = 0;
  std::optional<double> bits_per_byte;  // where tokens are bytes

  double value() const;           // bits per byte, or else perplexity per token
  const char* unit() const;       // "bpb" or "ppl"
  const char* unit_name() const;  // "bits per byte" or "perplexity"
};

struct RunResult {
  std::optional<ValidationResult> last, best;  // of the highest step, of the lowest loss; absent before an evaluation
  std::int64_t last_step = 0;                  // highest that the metrics mention
};

RunResult run_result(const MetricsHistory& metrics);
// The same of a metrics.jsonl; one that is not there is empty.
RunResult read_run_result(const std::string& metrics_file);

}  // namespace weir
