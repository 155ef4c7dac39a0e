#include "train/result_table.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/text.h"
#include "models/feedforward_share.h"
#include "models/model_cost.h"
#include "train/paper_presets.h"
#include "train/progress.h"
#include "train/run_result.h"

namespace weir {
namespace {

struct Row {
  std::string run;
  Config config;
  ModelCost cost;
  double flops = 0;
  RunResult result;
  std::optional<PublishedResult> published;
};

Row read_row(const std::string& run) {
  const std::string config_file = run + "/config.toml";
  if (!std::filesystem::exists(config_file))
    throw RunError(ExitCode::io, fmt::format("{}: no run folder: it holds no config.toml; see 'ls runs'", run));
  Row row;
  row.run = run;
  row.config = load_config(config_file);
  const Config& c = row.config;
  row.cost = model_cost(c.model, c.feedforward, c.train.batch_size);
  row.published = published_result(c);
  row.flops =
      flops_percent(c.model, c.feedforward,
                    row.published ? find_paper_preset(c.name)->dense_d_ff : matched_d_ff(c.model, c.feedforward));
  row.result = read_run_result(run + "/metrics.jsonl");
  return row;
}

std::string result_text(const std::optional<ValidationResult>& result) {
  return result ? fmt::format("{:.4f}", result->value()) : "-";
}

TableRow cells(const Row& row) {
  const FeedforwardConfig& f = row.config.feedforward;
  const bool experts = f.kind == "moe", some = experts || f.kind == "top-k";
  return {printable(row.config.name),
          experts ? fmt::format("{}", f.expert_size) : "-",
          some ? fmt::format("{}", f.k) : "-",
          format_si(static_cast<double>(row.cost.parameters)),
          fmt::format("{:.1f}%", row.flops),
          result_text(row.result.last),
          result_text(row.result.best),
          row.result.last ? row.result.last->unit() : "-",
          row.published ? fmt::format("{:.2f} {}", row.published->value, row.published->unit) : "-"};
}

// What a validation reads: results with different settings cannot be compared.
std::string settings_text(const EvalConfig& eval) {
  const std::string text = eval.max_tokens > 0 ? fmt::format("{} tokens of the validation text", eval.max_tokens)
                                               : "the whole validation text";
  return fmt::format("{}, memory {}, {} streams", text, eval.memory, eval.batch_size);
}

std::string notes(const std::vector<Row>& rows) {
  std::map<std::string, std::vector<std::string>> names;
  for (const Row& row : rows) names[settings_text(row.config.eval)].push_back(printable(row.config.name));
  std::string text = "\nResults: last and best validation";
  if (names.size() == 1) return fmt::format("{}, on {}.\n", text, names.begin()->first);
  text += ".\n";
  for (const auto& [settings, of] : names) text += fmt::format("On {}: {}.\n", settings, join(of, ", "));
  return text;
}

nlohmann::json to_json(const ValidationResult& result) {
  return {{"step", result.step},
          {"value", result.value()},
          {"unit", result.unit()},
          {"nats_per_token", result.nats_per_token}};
}

nlohmann::json to_json(const Row& row) {
  const Config& c = row.config;
  nlohmann::json object = {
      {"run", row.run},
      {"name", c.name},
      {"kind", c.feedforward.kind},
      {"parameters", row.cost.parameters},
      {"active_parameters", row.cost.active_parameters},
      {"flops_percent", row.flops},
      {"eval", {{"memory", c.eval.memory}, {"batch_size", c.eval.batch_size}, {"max_tokens", c.eval.max_tokens}}}};
  if (c.feedforward.kind == "moe") object["expert_size"] = c.feedforward.expert_size;
  if (c.feedforward.kind != "dense") object["k"] = c.feedforward.k;
  if (const auto paper = paper_flops_percent(c.feedforward)) object["paper_flops_percent"] = *paper;
  if (row.result.last) object["last"] = to_json(*row.result.last);
  if (row.result.best) object["best"] = to_json(*row.result.best);
  if (row.published)
    object["published"] = {
        {"value", row.published->value}, {"unit", row.published->unit}, {"table", row.published->table}};
  return object;
}

}  // namespace

std::string result_table(const std::vector<std::string>& runs, TableFormat format) {
  std::vector<Row> rows;
  for (const std::string& run : runs) rows.push_back(read_row(run));
  if (format == TableFormat::json) {
    nlohmann::json list = nlohmann::json::array();
    for (const Row& row : rows) list.push_back(to_json(row));
    return list.dump() + "\n";
  }
  std::vector<TableRow> table{{"variant", "G", "K", "params", "FLOPs", "last", "best", "unit", "published"}};
  for (const Row& row : rows) table.push_back(cells(row));
  return (format == TableFormat::markdown ? markdown_table(table) : text_table(table)) + notes(rows);
}

}  // namespace weir
