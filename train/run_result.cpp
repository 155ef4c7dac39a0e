#include "train/run_result.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/file.h"

namespace weir {
namespace {

std::optional<double> at_step(const MetricSeries& series, std::int64_t step) {
  const auto found =
      std::lower_bound(series.begin(), series.end(), step,
                       [](const MetricPoint& point, std::int64_t wanted) { return point.step < wanted; });
  if (found == series.end() || found->step != step || !std::isfinite(found->value)) return std::nullopt;
  return found->value;
}

std::optional<std::int64_t> count_at_step(const MetricSeries& series, std::int64_t step) {
  const std::optional<double> value = at_step(series, step);
  if (!value || *value < 0 || *value > 1e18) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

}  // namespace

const char* unit_symbol(ResultUnit unit) { return unit == ResultUnit::bits_per_byte ? "bpb" : "ppl"; }

const char* unit_name(ResultUnit unit) { return unit == ResultUnit::bits_per_byte ? "bits per byte" : "perplexity"; }

ResultUnit ValidationResult::own_unit() const {
  return tokens_are_bytes && bits_per_byte ? ResultUnit::bits_per_byte : ResultUnit::perplexity;
}

std::optional<double> ValidationResult::in(ResultUnit unit) const {
  return unit == ResultUnit::bits_per_byte ? bits_per_byte : std::optional(std::exp(nats_per_token));
}

std::optional<double> ValidationResult::text_bytes() const {
  if (!tokens || !bits_per_byte || *bits_per_byte <= 0) return std::nullopt;
  return static_cast<double>(*tokens) * nats_per_token / std::numbers::ln2 / *bits_per_byte;
}

RunResult run_result(const MetricsHistory& metrics) {
  RunResult result;
  for (const auto& [name, points] : metrics.series)
    if (!points.empty()) result.last_step = std::max(result.last_step, points.back().step);
  for (const MetricPoint& loss : metrics.of("valid/loss")) {
    if (!std::isfinite(loss.value) || loss.value < 0) continue;
    const ValidationResult found{.step = loss.step,
                                 .nats_per_token = loss.value,
                                 .bits_per_byte = at_step(metrics.of("valid/bits_per_byte"), loss.step),
                                 // Perplexity is logged only where they are not.
                                 .tokens_are_bytes = metrics.of("valid/perplexity").empty(),
                                 .tokens = count_at_step(metrics.of("valid/tokens"), loss.step),
                                 .streams = count_at_step(metrics.of("valid/streams"), loss.step),
                                 .unknown_share = at_step(metrics.of("valid/unknown_share"), loss.step).value_or(0)};
    result.last = found;
    if (!result.best || loss.value < result.best->nats_per_token) result.best = found;
  }
  return result;
}

RunResult read_run_result(const std::string& metrics_file, const Warn& warn) {
  if (!is_there(metrics_file, Links::themselves)) return {};
  const MetricsHistory metrics = read_metrics(metrics_file);
  if (warn && !metrics.first_wrong.empty()) warn(passed_over(metrics));
  return run_result(metrics);
}

}  // namespace weir
