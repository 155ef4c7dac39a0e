// The head of a report: which runs, what came out, what they are.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/text.h"
#include "tools/weir/report/architecture_text.h"
#include "tools/weir/report/html.h"
#include "tools/weir/report/page.h"
#include "train/progress.h"

namespace weir {
namespace {

std::string tile(const std::string& value, const std::string& name, const std::string& title = "") {
  return fmt::format("<div class=\"tile\"{}><b>{}</b><span>{}</span></div>\n",
                     title.empty() ? "" : " title=\"" + html_text(title) + "\"", html_text(value), html_text(name));
}

std::string model_text(const Config& config) {
  const ModelConfig& m = config.model;
  return fmt::format("{} · {}, d_model {}, {} of {}, segment {}", architecture_text(m, config.feedforward),
                     counted(m.layers, "layer"), m.d_model, counted(m.heads, "head"), m.head_size, m.segment);
}

std::string count(std::int64_t number) { return format_si(static_cast<double>(number)); }

std::optional<double> finite(std::optional<double> value) {
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::string result_tiles(const ReportRun& run, ResultUnit unit) {
  const RunResult result = run_result(run.metrics);
  if (!result.last) return "";
  std::string html;
  if (const auto last = result.last->in(unit))
    html +=
        tile(fmt::format("{:#.4g}", *last), fmt::format("{}, validation", unit_name(unit)), fmt::format("{}", *last));
  if (const auto best = result.best->in(unit))
    html += tile(fmt::format("{:#.4g}", *best), fmt::format("best, at step {}", result.best->step));
  if (unit == ResultUnit::perplexity && result.last->bits_per_byte)
    html += tile(fmt::format("{:#.4g}", *result.last->bits_per_byte), "bits per byte, validation");
  return html;
}

std::string tiles(const ReportRun& run, ResultUnit unit) {
  std::string html = "<div class=\"tiles\">\n" + result_tiles(run, unit);
  html += tile(count(run.cost.parameters), "parameters", fmt::format("{}", run.cost.parameters));
  html += tile(count(run.cost.active_parameters), "active per token", fmt::format("{}", run.cost.active_parameters));
  html += tile(format_si(run.cost.forward_flops_per_token), "FLOPs per token, forward");
  if (const auto tokens = finite(run.metrics.last("train/tokens"))) {
    const std::int64_t steps = run.metrics.of("train/tokens").back().step;
    html += tile(format_si(*tokens), "tokens in " + counted(steps, "step"));
  }
  if (const auto seconds = finite(run.metrics.last("train/seconds")))
    html += tile(format_duration(*seconds), "training time");
  return html + "</div>\n";
}

std::string eval_text(const ReportRun& run) {
  if (run.metrics.series.empty()) return "There are no metrics of this run.";
  const auto last = run_result(run.metrics).last;
  if (!last) return "Not validated so far.";
  return fmt::format("Validation on {}, {}.", measured_text(run.config, &*last), run.config.model.precision);
}

std::string cell(const std::optional<ValidationResult>& result, ResultUnit unit) {
  const auto value = result ? result->in(unit) : std::nullopt;
  return value ? fmt::format("<td><b>{:#.4g}</b></td>", *value) : "<td>–</td>";
}

// Results come first: on a phone the rest is reached by scrolling.
std::string row(const ReportRun& run, std::size_t number, ResultUnit unit) {
  const RunResult result = run_result(run.metrics);
  const auto tokens = finite(run.metrics.last("train/tokens")), seconds = finite(run.metrics.last("train/seconds"));
  return fmt::format(
      "<tr class=\"c{}{}\"><td class=\"name\"><span class=\"key\"></span>{}</td>{}{}<td "
      "class=\"text\">{}</td><td>{}</td>"
      "<td>{}</td><td>{}</td><td>{}</td></tr>\n",
      number % 8, number >= 8 ? " second" : "", html_text(run.name, 60), cell(result.last, unit),
      cell(result.best, unit), html_text(architecture_text(run.config.model, run.config.feedforward)),
      count(run.cost.parameters), count(run.cost.active_parameters), tokens ? format_si(*tokens) : "–",
      seconds ? format_duration(*seconds) : "–");
}

std::string table(const Report& report) {
  const ResultUnit unit = report.comparison.unit;
  std::string html = fmt::format(
      "<div class=\"wide\"><table class=\"runs\">\n<tr><th>run</th><th>{}</th><th>best</th><th "
      "class=\"left\">model</th>"
      "<th>parameters</th><th>active</th><th>tokens</th><th>time</th></tr>\n",
      unit_name(unit));
  for (std::size_t i = 0; i < report.runs.size(); ++i) html += row(report.runs[i], i, unit);
  return html + "</table></div>\n";
}

// What the figures are of, once where it is the same for all runs.
std::string measured(const Report& report) {
  const std::string first = eval_text(report.runs[0]);
  if (std::all_of(report.runs.begin(), report.runs.end(),
                  [&](const ReportRun& run) { return eval_text(run) == first; }))
    return fmt::format("<p class=\"quiet\">{}</p>\n", html_text(first));
  std::string html;
  for (const ReportRun& run : report.runs)
    html += fmt::format("<p class=\"quiet\">{}: {}</p>\n", html_text(run.name, 60), html_text(eval_text(run)));
  return html;
}

std::string notes(const Report& report) {
  std::string html;
  for (const std::string& note : report.comparison.notes)
    html += "<p class=\"note\">" + html_text(note, 4000) + "</p>\n";
  for (const ReportRun& run : report.runs)
    if (run.metrics.damaged_lines > 0)
      html += fmt::format("<p class=\"note\">{}: {} damaged lines of metrics.jsonl were passed over.</p>\n",
                          html_text(run.name), run.metrics.damaged_lines);
  return html;
}

}  // namespace

std::string header_section(const Report& report) {
  const std::vector<ReportRun>& runs = report.runs;
  std::string html = "<header>\n";
  if (runs.size() == 1)
    html += fmt::format("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n{}", html_text(runs[0].name),
                        html_text(model_text(runs[0].config)), tiles(runs[0], report.comparison.unit));
  else
    html += fmt::format("<h1>{} runs</h1>\n{}", runs.size(), table(report));
  return html + measured(report) + notes(report) + "</header>\n";
}

}  // namespace weir
