// The table of a sweep: what is there of each variant's results.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/feedforward_share.h"
#include "models/model_cost.h"
#include "tools/weir/sweep.h"
#include "train/progress.h"
#include "train/run_result.h"
#include "train/text_table.h"

namespace weir {
namespace {

struct Row {
  const SweepVariant* variant = nullptr;
  ModelCost cost;
  double flops = 0;
  std::vector<double> results;  // of the finished runs, in the order of the seeds
  std::string unit;

  double mean() const {
    double sum = 0;
    for (double result : results) sum += result;
    return sum / static_cast<double>(results.size());
  }
  // Standard deviation over the seeds; 0 for fewer than two.
  double spread() const {
    if (results.size() < 2) return 0;
    double sum = 0;
    for (double result : results) sum += (result - mean()) * (result - mean());
    return std::sqrt(sum / static_cast<double>(results.size() - 1));
  }
};

// The feedforward that all are compared with: the first dense one, or else one with as many parameters.
std::int64_t reference_d_ff(const Sweep& sweep, const SweepVariant& variant) {
  for (const SweepVariant& other : sweep.variants)
    if (other.config.feedforward.kind == "dense" && other.config.model.d_model == variant.config.model.d_model)
      return other.config.feedforward.d_ff;
  return matched_d_ff(variant.config.model, variant.config.feedforward);
}

std::vector<Row> rows_of(const Sweep& sweep) {
  std::vector<Row> rows;
  for (const SweepVariant& variant : sweep.variants) {
    const Config& c = variant.config;
    Row& row = rows.emplace_back();
    row.variant = &variant;
    row.cost = model_cost(c.model, c.feedforward, c.train.batch_size);
    row.flops = flops_percent(c.model, c.feedforward, reference_d_ff(sweep, variant));
  }
  for (const SweepRun& run : sweep.runs) {
    if (!run.finished()) continue;
    if (const auto last = read_run_result(run.file("metrics.jsonl")).last) {
      rows[run.variant].results.push_back(last->value());
      rows[run.variant].unit = last->unit();
    }
  }
  return rows;
}

std::string json_table(const Sweep& sweep, const std::vector<Row>& rows) {
  nlohmann::json list = nlohmann::json::array();
  for (const Row& row : rows) {
    nlohmann::json object = {{"variant", row.variant->config.name},
                             {"parameters", row.cost.parameters},
                             {"active_parameters", row.cost.active_parameters},
                             {"flops_percent", row.flops},
                             {"seeds", row.results.size()},
                             {"results", row.results}};
    if (!row.results.empty()) {
      object["unit"] = row.unit;
      object["mean"] = row.mean();
      object["spread"] = row.spread();
    }
    if (row.variant->published > 0) object["published"] = row.variant->published;
    list.push_back(object);
  }
  return nlohmann::json{{"name", sweep.name}, {"folder", sweep.folder}, {"variants", list}}.dump() + "\n";
}

std::string result_text(const Row& row) {
  if (row.results.empty()) return "-";
  if (row.results.size() == 1) return fmt::format("{:.4f}", row.mean());
  return fmt::format("{:.4f} ± {:.4f}", row.mean(), row.spread());
}

}  // namespace

std::string sweep_table(const Sweep& sweep, TableFormat format) {
  const std::vector<Row> rows = rows_of(sweep);
  if (format == TableFormat::json) return json_table(sweep, rows);
  std::string unit;
  bool published = false;
  for (const Row& row : rows) {
    if (unit.empty()) unit = row.unit;
    published = published || row.variant->published > 0;
  }
  std::vector<TableRow> table{{"variant", "params", "active", "FLOPs", unit.empty() ? "result" : unit, "runs"}};
  if (published) table[0].push_back("published");
  for (const Row& row : rows) {
    table.push_back({row.variant->config.name, format_si(static_cast<double>(row.cost.parameters)),
                     format_si(static_cast<double>(row.cost.active_parameters)), fmt::format("{:.1f}%", row.flops),
                     result_text(row), fmt::format("{}", row.results.size())});
    if (published)
      table.back().push_back(row.variant->published > 0 ? fmt::format("{:.2f}", row.variant->published) : "-");
  }
  return format == TableFormat::markdown ? markdown_table(table) : text_table(table);
}

}  // namespace weir
