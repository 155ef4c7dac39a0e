// The table of a sweep: what is there of each variant's results.
#include <fmt/format.h>

#include <cmath>

#include "core/json_writer.h"
#include "models/feedforward_share.h"
#include "models/model_cost.h"
#include "tools/weir/sweep.h"
#include "train/comparison.h"
#include "train/progress.h"
#include "train/run_result.h"
#include "train/text_table.h"

namespace weir {
namespace {

struct Row {
  const SweepVariant* variant = nullptr;
  ModelCost cost;
  std::int64_t dense_d_ff = 0;  // hidden units: 100 % of `flops`
  double flops = 0;
  std::vector<double> results;  // of the finished runs, in the order of the seeds

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

struct Table {
  std::vector<Row> rows;
  Comparison comparison;
};

Table table_of(const Sweep& sweep) {
  Table table;
  std::vector<Config> configs;  // of the runs with the first seed
  for (std::size_t v = 0; v < sweep.variants.size(); ++v) configs.push_back(sweep.runs[v].config);
  for (const SweepVariant& variant : sweep.variants) {
    const Config& c = configs[table.rows.size()];
    Row& row = table.rows.emplace_back();
    row.variant = &variant;
    row.cost = model_cost(c.model, c.feedforward, c.train.batch_size);
    row.dense_d_ff = dense_reference(c, configs);
    row.flops = flops_percent(c.model, c.feedforward, row.dense_d_ff);
  }
  std::vector<ComparedRun> finished;
  std::vector<std::size_t> variants;  // of the finished runs
  for (const SweepRun& run : sweep.runs) {
    if (!run.finished()) continue;
    finished.push_back({sweep.variants[run.variant].config.name, run.folder, run.config,
                        read_run_result(run.file("metrics.jsonl"), warn_on_stderr)});
    variants.push_back(run.variant);
  }
  table.comparison = compare_results(finished);
  for (std::size_t i = 0; i < finished.size(); ++i)
    if (const auto& last = finished[i].result.last)
      if (const auto value = last->in(table.comparison.unit)) table.rows[variants[i]].results.push_back(*value);
  return table;
}

std::string json_table(const Sweep& sweep, const Table& table) {
  JsonList list;
  for (const Row& row : table.rows) {
    JsonObject object = {{"variant", row.variant->config.name},
                         {"parameters", row.cost.parameters},
                         {"active_parameters", row.cost.active_parameters},
                         {"flops_percent", row.flops},
                         {"dense_d_ff", row.dense_d_ff},
                         {"seeds", row.results.size()},
                         {"results", row.results}};
    if (!row.results.empty()) {
      object["unit"] = unit_symbol(table.comparison.unit);
      object["mean"] = row.mean();
      object["spread"] = row.spread();
    }
    if (row.variant->published > 0) object["published"] = row.variant->published;
    list.push_back(object);
  }
  const JsonObject object{
      {"name", sweep.name}, {"folder", sweep.folder}, {"notes", table.comparison.notes}, {"variants", list}};
  return Json(object).text() + "\n";
}

std::string result_text(const Row& row) {
  if (row.results.empty()) return "-";
  if (row.results.size() == 1) return fmt::format("{:.4f}", row.mean());
  return fmt::format("{:.4f} ± {:.4f}", row.mean(), row.spread());
}

}  // namespace

std::string sweep_table(const Sweep& sweep, TableFormat format) {
  const Table results = table_of(sweep);
  if (format == TableFormat::json) return json_table(sweep, results);
  bool measured = false, published = false;
  for (const Row& row : results.rows) {
    measured = measured || !row.results.empty();
    published = published || row.variant->published > 0;
  }
  std::vector<TableRow> table{
      {"variant", "params", "active", "FLOPs", measured ? unit_symbol(results.comparison.unit) : "result", "runs"}};
  if (published) table[0].push_back("published");
  for (const Row& row : results.rows) {
    table.push_back({row.variant->config.name, format_si(static_cast<double>(row.cost.parameters)),
                     format_si(static_cast<double>(row.cost.active_parameters)), fmt::format("{:.1f}%", row.flops),
                     result_text(row), fmt::format("{}", row.results.size())});
    if (published)
      table.back().push_back(row.variant->published > 0 ? fmt::format("{:.2f}", row.variant->published) : "-");
  }
  std::string text = format == TableFormat::markdown ? markdown_table(table) : text_table(table);
  std::vector<std::string> names;
  std::vector<std::int64_t> references;
  for (const Row& row : results.rows) {
    names.push_back(row.variant->config.name);
    references.push_back(row.dense_d_ff);
  }
  text += "\n" + dense_reference_text(names, references) + "\n";
  for (const std::string& note : results.comparison.notes) text += "\n" + note + "\n";
  return text;
}

}  // namespace weir
