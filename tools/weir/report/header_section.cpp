// The head of a report: which runs, what came out, what they are.
#include <fmt/format.h>

#include <cmath>

#include "tools/weir/report/feedforward_text.h"
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
  return fmt::format("{} · {} layers, d_model {}, {} heads of {}, segment {}", feedforward_text(config.feedforward),
                     m.layers, m.d_model, m.heads, m.head_size, m.segment);
}

std::string count(std::int64_t number) { return format_si(static_cast<double>(number)); }

std::string tiles(const ReportRun& run) {
  std::string html = "<div class=\"tiles\">\n";
  if (const RunResult result = run_result(run.metrics); result.last) {
    const double last = result.last->value(), best = result.best->value();
    html += tile(fmt::format("{:.4g}", last), fmt::format("{}, validation", result.last->unit_name()),
                 fmt::format("{}", last));
    html += tile(fmt::format("{:.4g}", best), fmt::format("best, at step {}", result.best->step));
  }
  html += tile(count(run.cost.parameters), "parameters", fmt::format("{}", run.cost.parameters));
  html += tile(count(run.cost.active_parameters), "active per token", fmt::format("{}", run.cost.active_parameters));
  html += tile(format_si(run.cost.forward_flops_per_token), "FLOPs per token, forward");
  if (const auto tokens = run.metrics.last("train/tokens")) {
    const MetricPoint last = run.metrics.of("train/tokens").back();
    html += tile(format_si(*tokens), fmt::format("tokens in {} steps", last.step));
  }
  if (const auto seconds = run.metrics.last("train/seconds")) html += tile(format_duration(*seconds), "training time");
  return html + "</div>\n";
}

std::string eval_text(const ReportRun& run) {
  const EvalConfig& eval = run.config.eval;
  return fmt::format("Validation with a memory of {} tokens, batch {}, {}, {}.",
                     eval.memory < 0 ? run.config.model.memory_length() : eval.memory, eval.batch_size,
                     eval.max_tokens > 0 ? fmt::format("the first {} tokens", eval.max_tokens) : "all tokens",
                     run.config.model.precision);
}

std::string row(const ReportRun& run, std::size_t number) {
  const RunResult result = run_result(run.metrics);
  const auto tokens = run.metrics.last("train/tokens"), seconds = run.metrics.last("train/seconds");
  return fmt::format(
      "<tr class=\"c{}{}\"><td><span class=\"key\"></span>{}</td><td class=\"text\">{}</td><td>{}</td><td>{}</td><td>{}"
      "</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
      number % 8, number >= 8 ? " second" : "", html_text(run.name, 60),
      html_text(feedforward_text(run.config.feedforward)), count(run.cost.parameters),
      count(run.cost.active_parameters), tokens ? format_si(*tokens) : "", seconds ? format_duration(*seconds) : "",
      result.last ? fmt::format("{:.4g}", result.last->value()) : "",
      result.best ? fmt::format("{:.4g}", result.best->value()) : "");
}

std::string table(std::span<const ReportRun> runs) {
  const auto first = run_result(runs[0].metrics).last;
  const std::string unit = first ? first->unit_name() : "validation";
  std::string html = fmt::format(
      "<div class=\"wide\"><table>\n<tr><th>run</th><th style=\"text-align:left\">feedforward</th><th>parameters</th>"
      "<th>active</th><th>tokens</th><th>time</th><th>{}</th><th>best</th></tr>\n",
      html_text(unit));
  for (std::size_t i = 0; i < runs.size(); ++i) html += row(runs[i], i);
  return html + "</table></div>\n";
}

std::string notes(const ReportRun& run) {
  std::string html;
  if (!run.missing.empty()) html += "<p class=\"note\">" + html_text(run.missing, 500) + "</p>\n";
  if (run.metrics.damaged_lines > 0)
    html += fmt::format("<p class=\"note\">{}: {} damaged lines of metrics.jsonl were passed over.</p>\n",
                        html_text(run.name), run.metrics.damaged_lines);
  return html;
}

}  // namespace

std::string header_section(std::span<const ReportRun> runs) {
  std::string html = "<header>\n";
  if (runs.size() == 1) {
    html += fmt::format("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n{}<p class=\"quiet\">{}</p>\n", html_text(runs[0].name),
                        html_text(model_text(runs[0].config)), tiles(runs[0]), html_text(eval_text(runs[0])));
  } else {
    html += fmt::format("<h1>{} runs</h1>\n{}", runs.size(), table(runs));
  }
  for (const ReportRun& run : runs) html += notes(run);
  return html + "</header>\n";
}

}  // namespace weir
