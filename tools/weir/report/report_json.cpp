#include "tools/weir/report/report_json.h"

#include <cmath>

#include "core/json_writer.h"
#include "train/expert_metrics.h"

namespace weir {
namespace {

JsonList matrix(const std::vector<std::int64_t>& values, std::size_t cols) {
  JsonList rows;
  for (std::size_t i = 0; i < values.size(); i += cols)
    rows.push_back(std::vector<std::int64_t>(&values[i], &values[i] + cols));
  return rows;
}

JsonObject layer_json(const FeedforwardStatistics& s) {
  JsonObject layer = {
      {"channels", s.active.channels}, {"active_mean", s.active.mean()}, {"active_deviation", s.active.deviation()}};
  if (s.expert_counts.empty()) return layer;
  const ExpertUsage usage = expert_usage(s.expert_counts);
  layer["usage_perplexity"] = std::pow(static_cast<double>(s.expert_counts.size()), usage.entropy - 1);
  layer["utilisation_min"] = usage.utilisation_min;
  layer["utilisation_max"] = usage.utilisation_max;
  layer["dead"] = usage.dead;
  layer["gate_min"] = s.smallest_gate;
  layer["gate_max"] = s.largest_gate;
  layer["selections"] = s.expert_counts;
  layer["gate_sums"] = s.gate_sums;
  layer["pairs"] = matrix(s.pair_counts, s.expert_counts.size());
  return layer;
}

Json analysis_json(const ReportRun& run) {
  if (!run.analysis) return nullptr;
  const Analysis& a = *run.analysis;
  JsonList layers;
  for (const FeedforwardStatistics& layer : a.layers) layers.push_back(layer_json(layer));
  return JsonObject{{"checkpoint", a.checkpoint},
                    {"data", a.data},
                    {"tokens", a.evaluation.tokens},
                    {"nats_per_token", a.evaluation.nats_per_token},
                    {"memory", a.evaluation.memory},
                    {"batch_size", a.evaluation.batch_size},
                    {"precision", run.config.model.precision},
                    {"layers", layers}};
}

Json result_json(const ReportRun& run, ResultUnit unit) {
  const RunResult result = run_result(run.metrics);
  if (!result.last) return nullptr;
  JsonObject object = {
      {"unit", unit_name(unit)}, {"last", nullptr}, {"best", nullptr}, {"best_step", result.best->step}};
  if (const auto last = result.last->in(unit)) object["last"] = *last;
  if (const auto best = result.best->in(unit)) object["best"] = *best;
  if (result.last->tokens) object["tokens"] = *result.last->tokens;
  return object;
}

JsonObject run_json(const ReportRun& run, ResultUnit unit) {
  JsonObject object = {{"run", run.path},
                       {"name", run.config.name},
                       {"feedforward", run.config.feedforward.kind},
                       {"attention", run.config.model.attention},
                       {"parameters", run.cost.parameters},
                       {"active_parameters", run.cost.active_parameters},
                       {"damaged_lines", run.metrics.damaged_lines},
                       {"result", result_json(run, unit)},
                       {"analysis", analysis_json(run)}};
  if (const MetricSeries& tokens = run.metrics.of("train/tokens"); !tokens.empty()) {
    object["steps"] = tokens.back().step;
    object["tokens"] = tokens.back().value;
  }
  if (!run.missing.empty()) object["analysis_missing"] = run.missing;
  return object;
}

}  // namespace

std::string report_json(const Report& report, const std::string& page) {
  JsonList list;
  for (const ReportRun& run : report.runs) list.push_back(run_json(run, report.comparison.unit));
  return Json(JsonObject{{"page", page}, {"notes", report.comparison.notes}, {"runs", list}}).text();
}

}  // namespace weir
