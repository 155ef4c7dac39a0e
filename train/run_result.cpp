#include "train/run_result.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace weir {

double ValidationResult::value() const { return bits_per_byte ? *bits_per_byte : std::exp(nats_per_token); }

const char* ValidationResult::unit() const { return bits_per_byte ? "bpb" : "ppl"; }

const char* ValidationResult::unit_name() const { return bits_per_byte ? "bits per byte" : "perplexity"; }

RunResult run_result(const MetricsHistory& metrics) {
  RunResult result;
  for (const auto& [name, points] : metrics.series)
    if (!points.empty()) result.last_step = std::max(result.last_step, points.back().step);
  // Perplexity is logged only where tokens are not bytes; bits per byte are then those of the text behind the tokens.
  const bool tokens_are_bytes = metrics.of("valid/perplexity").empty();
  const MetricSeries& bits = metrics.of("valid/bits_per_byte");
  for (const MetricPoint& loss : metrics.of("valid/loss")) {
    if (!std::isfinite(loss.value)) continue;
    ValidationResult found{loss.step, loss.value, {}};
    const auto same_step =
        std::find_if(bits.begin(), bits.end(), [&](const MetricPoint& p) { return p.step == loss.step; });
    if (tokens_are_bytes && same_step != bits.end()) found.bits_per_byte = same_step->value;
    result.last = found;
    if (!result.best || loss.value < result.best->nats_per_token) result.best = found;
  }
  return result;
}

RunResult read_run_result(const std::string& metrics_file) {
  return std::filesystem::exists(metrics_file) ? run_result(read_metrics(metrics_file)) : RunResult{};
}

}  // namespace weir
