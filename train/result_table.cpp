#include "train/result_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "core/json_writer.h"
#include "core/text.h"
#include "models/feedforward_share.h"
#include "models/model_cost.h"
#include "train/comparison.h"
#include "train/paper_presets.h"
#include "train/progress.h"
#include "train/run_directory.h"
#include "train/run_lookup.h"
#include "train/run_names.h"
#include "train/run_result.h"

namespace weir {
namespace {

struct Row {
  std::string run, variant;
  Config config;
  ModelCost cost;
  std::int64_t dense_d_ff = 0;  // hidden units: 100 % of `flops`
  double flops = 0;
  RunResult result;
  std::optional<PublishedResult> published;
};

Row read_row(const std::string& run) {
  Row row;
  row.run = run;
  row.config = run_config(run);
  const Config& c = row.config;
  row.cost = model_cost(c.model, c.feedforward, c.train.batch_size);
  row.published = published_result(c);
  row.result = read_run_result(run_file(run, "metrics.jsonl"), warn_on_stderr);
  return row;
}

void count_flops(std::vector<Row>& rows) {
  std::vector<Config> all;
  for (const Row& row : rows) all.push_back(row.config);
  for (Row& row : rows) {
    row.dense_d_ff = dense_reference(row.config, all);
    row.flops = flops_percent(row.config.model, row.config.feedforward, row.dense_d_ff);
  }
}

std::string flops_text(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  std::vector<std::int64_t> references;
  for (const Row& row : rows) {
    names.push_back(row.variant);
    references.push_back(row.dense_d_ff);
  }
  return dense_reference_text(names, references);
}

void name_variants(std::vector<Row>& rows) {
  std::vector<std::string> names, folders;
  for (const Row& row : rows) {
    names.push_back(row.config.name);
    folders.push_back(row.run);
  }
  names = distinct_names(names, folders);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].variant = names[i];
}

Comparison compare(const std::vector<Row>& rows) {
  std::vector<ComparedRun> runs;
  for (const Row& row : rows) runs.push_back({row.variant, row.run, row.config, row.result});
  return compare_results(runs);
}

const ValidationResult* last_of(const Row& row) { return row.result.last ? &*row.result.last : nullptr; }

std::string result_text(const std::optional<ValidationResult>& result, ResultUnit unit) {
  const std::optional<double> value = result ? result->in(unit) : std::nullopt;
  return value ? fmt::format("{:.4f}", *value) : "-";
}

bool is_switch_head(const Row& row) { return row.config.model.attention == "switch-head"; }

// Which attention is only told where a run has another one than Transformer-XL's.
TableRow cells(const Row& row, ResultUnit unit, bool tell_attention) {
  const FeedforwardConfig& f = row.config.feedforward;
  const bool experts = f.kind == "moe", some = experts || f.kind == "top-k";
  TableRow cells{printable(row.variant)};
  if (tell_attention) cells.push_back(is_switch_head(row) ? "SwitchHead" : "dense");
  for (std::string& cell :
       TableRow{experts ? fmt::format("{}", f.expert_size) : "-", some ? fmt::format("{}", f.k) : "-",
                format_si(static_cast<double>(row.cost.parameters)), fmt::format("{:.1f}%", row.flops),
                result_text(row.result.last, unit), result_text(row.result.best, unit),
                row.result.last && row.result.last->in(unit) ? unit_symbol(unit) : "-",
                row.published ? fmt::format("{:.2f} {}", row.published->value, row.published->unit) : "-"})
    cells.push_back(std::move(cell));
  return cells;
}

// What the validations read, and what keeps the results from being compared.
std::string notes(const std::vector<Row>& rows, const Comparison& comparison) {
  std::map<std::string, std::vector<std::string>> names;
  for (const Row& row : rows) names[measured_text(row.config, last_of(row))].push_back(printable(row.variant));
  std::string text = "\nResults: last and best validation";
  if (names.size() == 1) {
    text += fmt::format(", on {}.\n", names.begin()->first);
  } else {
    text += ".\n";
    for (const auto& [measured, of] : names) text += fmt::format("On {}: {}.\n", measured, join(of, ", "));
  }
  for (const std::string& note : comparison.notes) text += note + "\n";
  return text + flops_text(rows) + "\n";
}

JsonObject to_json(const ValidationResult& result, ResultUnit unit) {
  JsonObject object = {{"step", result.step},
                       {"value", nullptr},
                       {"unit", unit_symbol(unit)},
                       {"nats_per_token", result.nats_per_token}};
  if (const auto value = result.in(unit)) object["value"] = *value;
  if (result.bits_per_byte) object["bits_per_byte"] = *result.bits_per_byte;
  if (result.tokens) object["tokens"] = *result.tokens;
  if (result.unknown_share > 0) object["unknown_share"] = result.unknown_share;
  return object;
}

JsonObject to_json(const Row& row, ResultUnit unit) {
  const Config& c = row.config;
  JsonObject object = {
      {"run", row.run},
      {"name", c.name},
      {"kind", c.feedforward.kind},
      {"attention", c.model.attention},
      {"parameters", row.cost.parameters},
      {"active_parameters", row.cost.active_parameters},
      {"flops_percent", row.flops},
      {"dense_d_ff", row.dense_d_ff},
      {"eval",
       JsonObject{{"memory", c.eval.memory}, {"batch_size", c.eval.batch_size}, {"max_tokens", c.eval.max_tokens}}}};
  if (c.feedforward.kind == "moe") object["expert_size"] = c.feedforward.expert_size;
  if (c.feedforward.kind != "dense") object["k"] = c.feedforward.k;
  if (const auto paper = paper_flops_percent(c.feedforward)) object["paper_flops_percent"] = *paper;
  if (row.result.last) object["last"] = to_json(*row.result.last, unit);
  if (row.result.best) object["best"] = to_json(*row.result.best, unit);
  if (row.published)
    object["published"] =
        JsonObject{{"value", row.published->value}, {"unit", row.published->unit}, {"table", row.published->table}};
  return object;
}

}  // namespace

std::string result_table(const std::vector<std::string>& runs, TableFormat format) {
  std::vector<Row> rows;
  for (const std::string& run : runs) rows.push_back(read_row(run));
  name_variants(rows);
  count_flops(rows);
  const Comparison comparison = compare(rows);
  if (format == TableFormat::json) {
    JsonList list;
    for (const Row& row : rows) list.push_back(to_json(row, comparison.unit));
    const JsonObject object{{"unit", unit_symbol(comparison.unit)}, {"notes", comparison.notes}, {"runs", list}};
    return Json(object).text() + "\n";
  }
  const bool tell_attention = std::any_of(rows.begin(), rows.end(), is_switch_head);
  std::vector<TableRow> table{{"variant"}};
  if (tell_attention) table[0].push_back("attention");
  for (const char* head : {"G", "K", "params", "FLOPs", "last", "best", "unit", "published"}) table[0].push_back(head);
  for (const Row& row : rows) table.push_back(cells(row, comparison.unit, tell_attention));
  return (format == TableFormat::markdown ? markdown_table(table) : text_table(table)) + notes(rows, comparison);
}

}  // namespace weir
