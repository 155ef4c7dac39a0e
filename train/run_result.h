// What a run's metrics say about its validation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "train/append_file.h"
#include "train/metrics_reader.h"

namespace weir {

// Perplexity is per token, so it compares models of one tokenizer only.
enum class ResultUnit { bits_per_byte, perplexity };
const char* unit_symbol(ResultUnit unit);  // "bpb" or "ppl"
const char* unit_name(ResultUnit unit);    // "bits per byte" or "perplexity"

struct ValidationResult {
  std::int64_t step = 0;
  double nats_per_token = 0;
  std::optional<double> bits_per_byte{};  // where the data says how many bytes its text has
  bool tokens_are_bytes = false;
  std::optional<std::int64_t> tokens{}, streams{};  // that were measured; older runs do not say
  double unknown_share = 0;                         // of the text: what the tokenizer has no token for

  ResultUnit own_unit() const;  // bits per byte where tokens are bytes, or else perplexity
  std::optional<double> in(ResultUnit unit) const;
  double value() const { return in(own_unit()).value(); }
  std::optional<double> text_bytes() const;  // of the text that was measured
};

struct RunResult {
  std::optional<ValidationResult> last, best;  // of the highest step, of the lowest loss; absent before an evaluation
  std::int64_t last_step = 0;                  // highest that the metrics mention
};

RunResult run_result(const MetricsHistory& metrics);
// The same of a metrics.jsonl; one that is not there is empty. `warn` hears of lines that are wrong.
RunResult read_run_result(const std::string& metrics_file, const Warn& warn = {});

}  // namespace weir
