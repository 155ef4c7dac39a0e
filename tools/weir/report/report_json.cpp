#include "tools/weir/report/report_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/weir/report/feedforward_text.h"
#include "train/expert_metrics.h"

namespace weir {
namespace {

using nlohmann::json;

json matrix(const std::vector<std::int64_t>& values, std::size_t cols) {
  json rows = json::array();
  for (std::size_t i = 0; i < values.size(); i += cols)
    rows.push_back(std::vector<std::int64_t>(&values[i], &values[i] + cols));
  return rows;
}

json layer_json(const FeedforwardStatistics& s) {
  json layer = {
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

json analysis_json(const ReportRun& run) {
  if (!run.analysis) return nullptr;
  const Analysis& a = *run.analysis;
  json layers = json::array();
  for (const FeedforwardStatistics& layer : a.layers) layers.push_back(layer_json(layer));
  return {{"checkpoint", a.checkpoint},
          {"data", a.data},
          {"tokens", a.evaluation.tokens},
          {"nats_per_token", a.evaluation.nats_per_token},
          {"memory", a.evaluation.memory},
          {"batch_size", a.evaluation.batch_size},
          {"precision", run.config.model.precision},
          {"layers", layers}};
}

json result_json(const ReportRun& run) {
  const RunResult result = run_result(run.metrics);
  if (!result.last) return nullptr;
  return {{"unit", result.last->unit_name()},
          {"last", result.last->value()},
          {"best", result.best->value()},
          {"best_step", result.best->step}};
}

json run_json(const ReportRun& run) {
  json object = {{"run", run.path},
                 {"name", run.config.name},
                 {"feedforward", run.config.feedforward.kind},
                 {"parameters", run.cost.parameters},
                 {"active_parameters", run.cost.active_parameters},
                 {"damaged_lines", run.metrics.damaged_lines},
                 {"result", result_json(run)},
                 {"analysis", analysis_json(run)}};
  if (const MetricSeries& tokens = run.metrics.of("train/tokens"); !tokens.empty()) {
    object["steps"] = tokens.back().step;
    object["tokens"] = tokens.back().value;
  }
  if (!run.missing.empty()) object["analysis_missing"] = run.missing;
  return object;
}

}  // namespace

std::string report_json(std::span<const ReportRun> runs, const std::string& page) {
  json list = json::array();
  for (const ReportRun& run : runs) list.push_back(run_json(run));
  return json{{"page", page}, {"runs", list}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace weir
