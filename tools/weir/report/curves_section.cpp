// The curves of a report: each chart with all runs.
#include <fmt/format.h>

#include "tools/weir/report/charts.h"
#include "tools/weir/report/clock.h"
#include "tools/weir/report/html.h"
#include "tools/weir/report/page.h"

namespace weir {
namespace {

struct Curve {
  const char* metric;
  const char* name;
  Line::Style style = Line::Style::plain;
};

class Charts {
 public:
  explicit Charts(const Report& report) : runs_(report.runs), clocks_(report.runs) {}

  std::string chart(LineChart chart, std::initializer_list<Curve> curves) const {
    chart.x_label = clock_name(clocks_.usual());
    chart.x_high = clocks_.end(clocks_.usual());
    chart.switched = true;
    for (std::size_t i = 0; i < runs_.size(); ++i)
      for (const Curve& curve : curves) {
        Line line{.label = runs_.size() == 1 ? curve.name : fmt::format("{} {}", runs_[i].name, curve.name),
                  .curve = curve.name,
                  .run = i,
                  .colour = runs_.size() == 1 ? static_cast<std::size_t>(&curve - curves.begin()) : i,
                  .style = curve.style};
        for (const MetricPoint& point : runs_[i].metrics.of(curve.metric))
          line.points.push_back({clocks_.at(clocks_.usual(), i, static_cast<double>(point.step)), point.value});
        chart.lines.push_back(std::move(line));
      }
    return draw(chart);
  }

  std::string switch_html() const { return clocks_.switch_html(); }

 private:
  std::span<const ReportRun> runs_;
  Clocks clocks_;
};

std::string loss_chart(const Report& report, const Charts& charts) {
  using enum Line::Style;
  return charts.chart(
      {.title = "Loss",
       .note = report.comparison.one_tokenizer ? "nats per token"
                                               : "nats per token, which does not compare across tokenizers",
       .cut_start = true},
      {{"train/loss", "training", faint}, {"valid/loss", "validation", marked}});
}

std::string validation_chart(const Report& report, const Charts& charts) {
  const ResultUnit unit = report.comparison.unit;
  return charts.chart({.title = "Validation", .note = unit_name(unit), .cut_start = true},
                      {{unit == ResultUnit::bits_per_byte ? "valid/bits_per_byte" : "valid/perplexity", "validation",
                        Line::Style::marked}});
}

std::string other_charts(const Charts& charts) {
  using enum Line::Style;
  return charts.chart({.title = "Learning rate", .note = "of the update"}, {{"train/learning_rate", "rate"}}) +
         charts.chart({.title = "Gradient norm", .note = "before clipping", .scale = Scale::logarithmic},
                      {{"train/gradient_norm", "norm"}}) +
         charts.chart({.title = "Throughput", .note = "tokens per second", .from_zero = true},
                      {{"train/tokens_per_second", "tokens/s"}}) +
         charts.chart({.title = "Evenness of expert use", .note = "usage entropy: 1 is even, 0 is one expert"},
                      {{"experts/usage_entropy", "entropy"}}) +
         charts.chart(
             {.title = "Busiest and idlest expert", .note = "load over fair share", .scale = Scale::logarithmic},
             {{"experts/utilisation_max", "busiest"}, {"experts/utilisation_min", "idlest", dashed}}) +
         charts.chart({.title = "Dead experts",
                       .note = "not chosen in a step, all layers",
                       .numbers = Numbers::whole,
                       .from_zero = true},
                      {{"experts/dead", "dead"}});
}

}  // namespace

std::string run_keys(std::span<const ReportRun> runs) {
  if (runs.size() < 2) return "";
  std::string html = "<div class=\"keys\">";
  for (std::size_t i = 0; i < runs.size(); ++i)
    html += fmt::format("<span class=\"c{}{}\"><span class=\"key\"></span>{}</span>", i % 8, i >= 8 ? " second" : "",
                        html_text(runs[i].name, 60));
  return html + "</div>\n";
}

// Where losses per token do not compare, what does comes first.
std::string curves_section(const Report& report) {
  const Charts charts(report);
  const std::string loss = loss_chart(report, charts), validation = validation_chart(report, charts);
  const std::string html =
      (report.comparison.one_tokenizer ? loss + validation : validation + loss) + other_charts(charts);
  if (html.empty()) return "";
  return "<section>\n<h2>Training</h2>\n" + charts.switch_html() + run_keys(report.runs) + "<div class=\"charts\">\n" +
         html + "</div>\n</section>\n";
}

}  // namespace weir
