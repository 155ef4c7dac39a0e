// The curves of a report: each chart with all runs.
#include <fmt/format.h>

#include "tools/weir/report/charts.h"
#include "tools/weir/report/html.h"
#include "tools/weir/report/page.h"

namespace weir {
namespace {

// Steps, unless the runs take different numbers of tokens per step: then tokens.
struct Abscissa {
  bool tokens = false;
  const char* label() const { return tokens ? "tokens" : "step"; }
  double operator()(const ReportRun& run, std::int64_t step) const {
    return static_cast<double>(step) * (tokens ? run.tokens_per_step() : 1);
  }
};

Abscissa abscissa(std::span<const ReportRun> runs) {
  for (const ReportRun& run : runs)
    if (run.tokens_per_step() != runs[0].tokens_per_step()) return {true};
  return {};
}

struct Curve {
  const char* metric;
  const char* suffix;  // of the label
  Line::Style style = Line::Style::plain;
};

std::string chart(std::span<const ReportRun> runs, LineChart chart, std::initializer_list<Curve> curves) {
  const Abscissa x = abscissa(runs);
  chart.x_label = x.label();
  for (std::size_t i = 0; i < runs.size(); ++i)
    for (const Curve& curve : curves) {
      Line line{.label = runs.size() == 1 ? curve.suffix : fmt::format("{} {}", runs[i].name, curve.suffix),
                .colour = runs.size() == 1 ? static_cast<std::size_t>(&curve - curves.begin()) : i,
                .style = curve.style};
      for (const MetricPoint& point : runs[i].metrics.of(curve.metric))
        line.points.push_back({x(runs[i], point.step), point.value});
      chart.lines.push_back(std::move(line));
    }
  return draw(chart);
}

// Which metric the validation chart shows: that of the result.
std::string validation_chart(std::span<const ReportRun> runs) {
  for (const ReportRun& run : runs) {
    const auto result = run_result(run.metrics).last;
    if (!result) continue;
    const char* metric = result->bits_per_byte ? "valid/bits_per_byte" : "valid/perplexity";
    return chart(runs, {.title = "Validation", .note = result->unit_name(), .cut_start = true},
                 {{metric, "validation", Line::Style::marked}});
  }
  return "";
}

}  // namespace

std::string curves_section(std::span<const ReportRun> runs) {
  using enum Line::Style;
  const std::string charts =
      chart(runs,
            {.title = "Loss",
             .note = runs.size() == 1 ? "nats per token; marked: validation"
                                      : "nats per token; faint: training, marked: validation",
             .cut_start = true},
            {{"train/loss", "training", faint}, {"valid/loss", "validation", marked}}) +
      validation_chart(runs) + chart(runs, {.title = "Learning rate"}, {{"train/learning_rate", "rate"}}) +
      chart(runs, {.title = "Gradient norm", .note = "before clipping", .scale = Scale::logarithmic},
            {{"train/gradient_norm", "norm"}}) +
      chart(runs, {.title = "Throughput", .note = "tokens per second", .from_zero = true},
            {{"train/tokens_per_second", "tokens/s"}}) +
      chart(runs, {.title = "Evenness of expert use", .note = "usage entropy: 1 is even, 0 is one expert"},
            {{"experts/usage_entropy", "entropy"}}) +
      chart(runs, {.title = "Busiest and idlest expert", .note = "load over fair share", .scale = Scale::logarithmic},
            {{"experts/utilisation_max", "busiest"}, {"experts/utilisation_min", "idlest", dashed}}) +
      chart(runs, {.title = "Dead experts", .note = "not chosen in a step, all layers"}, {{"experts/dead", "dead"}});
  if (charts.empty()) return "";
  std::string html = "<section>\n<h2>Training</h2>\n";
  if (runs.size() > 1) {
    html += "<div class=\"keys\">";
    for (std::size_t i = 0; i < runs.size(); ++i)
      html += fmt::format("<span class=\"c{}{}\"><span class=\"key\"></span>{}</span>", i % 8, i >= 8 ? " second" : "",
                          html_text(runs[i].name, 60));
    html += "</div>\n";
  }
  return html + "<div class=\"charts\">\n" + charts + "</div>\n</section>\n";
}

}  // namespace weir
