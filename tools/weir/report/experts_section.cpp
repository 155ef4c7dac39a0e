// What the feedforwards do: active channels (Figs. 1, 4, 5 of the paper), expert popularity (Figs. 3, 7), pairs of
// experts (Fig. 6).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tools/weir/report/charts.h"
#include "tools/weir/report/html.h"
#include "tools/weir/report/page.h"
#include "train/expert_metrics.h"
#include "train/progress.h"

namespace weir {
namespace {

constexpr std::size_t kMostLayers = 24;
constexpr double kMostCells = 40000, kMostTitledCells = 6000;  // of all heat maps together: they are most of the page

std::size_t layer_count(const ReportRun& run) { return run.analysis ? run.analysis->layers.size() : 0; }

std::size_t most_layers(std::span<const ReportRun> runs) {
  std::size_t layers = 0;
  for (const ReportRun& run : runs) layers = std::max(layers, layer_count(run));
  return layers;
}

// The layers that are drawn: all, or so many of them at equal distances, the first and the last included.
std::vector<std::size_t> drawn_layers(std::size_t layers) {
  std::vector<std::size_t> drawn;
  const std::size_t count = std::min(layers, kMostLayers);
  for (std::size_t i = 0; i < count; ++i) drawn.push_back(count == layers ? i : i * (layers - 1) / (count - 1));
  return drawn;
}

std::string measured_on(std::span<const ReportRun> runs) {
  std::string html;
  for (const ReportRun& run : runs) {
    if (!run.analysis) continue;
    const Analysis& a = *run.analysis;
    html +=
        fmt::format("<p class=\"quiet\">{}Measured on {} tokens of {}, memory {}, batch {}, {}, checkpoint {}.</p>\n",
                    runs.size() == 1 ? "" : html_text(run.name) + ": ",
                    format_si(static_cast<double>(a.evaluation.tokens)), html_text(a.data), a.evaluation.memory,
                    a.evaluation.batch_size, html_text(run.config.model.precision), html_text(a.checkpoint));
  }
  return html;
}

// --- active channels ---------------------------------------------------------------------------------------------

Bar active_bar(const ReportRun& run, std::size_t layer) {
  if (layer >= layer_count(run)) return {0, 0, run.name};
  const ActiveChannels& active = run.analysis->layers[layer].active;
  return {active.mean(), active.deviation(),
          fmt::format("{}, layer {}: {:.1f} ± {:.1f} of {} ({:.1f} %)", run.name, layer, active.mean(),
                      active.deviation(), active.channels,
                      100 * active.mean() / static_cast<double>(std::max<std::int64_t>(active.channels, 1)))};
}

std::string active_chart(std::span<const ReportRun> runs) {
  BarChart chart{.title = "Active channels",
                 .note = "hidden units above 0 per token, mean ± deviation",
                 .x_label = "layer",
                 .groups = {},
                 .bars = {}};
  for (std::size_t layer : drawn_layers(most_layers(runs))) {
    chart.groups.push_back(std::to_string(layer));
    chart.bars.emplace_back();
    for (const ReportRun& run : runs) chart.bars.back().push_back(active_bar(run, layer));
  }
  return draw(chart);
}

// --- expert popularity -------------------------------------------------------------------------------------------

// Shares of the total against rank, the largest first. What has no share is a gap on the logarithmic axis.
template <class T>
std::vector<Point> sorted_shares(std::vector<T> values) {
  std::sort(values.begin(), values.end(), std::greater<>());
  const auto total = static_cast<double>(std::accumulate(values.begin(), values.end(), T{}));
  std::vector<Point> points;
  for (std::size_t i = 0; i < values.size(); ++i)
    points.push_back({static_cast<double>(i + 1), total > 0 ? static_cast<double>(values[i]) / total : 0});
  return points;
}

struct Shares {
  double low = INFINITY, high = 0;
};

// One range for all layers, so that they compare at sight.
Shares range_of(std::span<const LineChart> charts) {
  Shares range;
  for (const LineChart& chart : charts)
    for (const Line& line : chart.lines)
      for (const Point& point : line.points)
        if (point.y > 0) range = {std::min(range.low, point.y), std::max(range.high, point.y)};
  return {std::max(range.low / 1.3, 1e-7), range.high * 1.3};
}

LineChart popularity_chart(std::span<const ReportRun> runs, std::size_t layer) {
  LineChart chart{
      .title = fmt::format("Layer {}", layer), .x_label = "rank", .scale = Scale::logarithmic, .small = true};
  std::int64_t dead = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (layer >= layer_count(runs[i]) || runs[i].analysis->layers[layer].expert_counts.empty()) continue;
    const FeedforwardStatistics& s = runs[i].analysis->layers[layer];
    const std::string prefix = runs.size() == 1 ? "" : runs[i].name + " ";
    chart.lines.push_back({.label = prefix + "by gate",
                           .curve = "by gate",
                           .run = i,
                           .colour = i,
                           .style = Line::Style::marked,
                           .points = sorted_shares(s.gate_sums)});
    if (runs.size() == 1)
      chart.lines.push_back({.label = "by count",
                             .curve = "by count",
                             .run = i,
                             .colour = i,
                             .style = Line::Style::dashed,
                             .points = sorted_shares(s.expert_counts)});
    dead += expert_usage(s.expert_counts).dead;
  }
  if (dead > 0) chart.note = fmt::format("{} never chosen", dead);
  return chart;
}

std::string popularity(std::span<const ReportRun> runs) {
  std::vector<LineChart> charts;
  for (std::size_t layer : drawn_layers(most_layers(runs))) charts.push_back(popularity_chart(runs, layer));
  std::erase_if(charts, [](const LineChart& chart) { return chart.lines.empty(); });
  const Shares range = range_of(charts);
  std::string html;
  for (LineChart& chart : charts) {
    chart.y_low = range.low;
    chart.y_high = range.high;
    html += draw(chart);
  }
  if (html.empty()) return "";
  const std::string legend =
      runs.size() == 1 ? fmt::format(
                             "<div class=\"legend\"><span>{}by the sum of its gates</span><span>{}by how often it was "
                             "chosen</span></div>\n",
                             line_sample(Line::Style::marked, "c0"), line_sample(Line::Style::dashed, "c0"))
                       : "";
  return fmt::format(
      "<h3>Expert popularity</h3>\n<p class=\"quiet\">Each expert's share of the layer's selections{}, the largest "
      "first, on "
      "a logarithmic scale. Flat is even use.</p>\n{}<div class=\"many\">\n{}</div>\n",
      runs.size() == 1 ? "" : " by the sum of its gates", legend, html);
}

// --- pairs -------------------------------------------------------------------------------------------------------

// Row i: of the company that expert i had, how much was expert j. [shown, shown], the diagonal 0.
std::vector<double> company(const FeedforwardStatistics& s, const std::vector<std::size_t>& shown) {
  const std::size_t experts = s.expert_counts.size();
  std::vector<double> cells;
  for (std::size_t i : shown) {
    double sum = 0;
    for (std::size_t j = 0; j < experts; ++j) sum += i == j ? 0 : static_cast<double>(s.pair_counts[i * experts + j]);
    for (std::size_t j : shown)
      cells.push_back(i == j || sum == 0 ? 0 : static_cast<double>(s.pair_counts[i * experts + j]) / sum);
  }
  return cells;
}

// The `most` experts that were chosen most, by number.
std::vector<std::size_t> shown_experts(const FeedforwardStatistics& s, std::size_t most) {
  std::vector<std::size_t> experts(s.expert_counts.size());
  std::iota(experts.begin(), experts.end(), 0);
  std::stable_sort(experts.begin(), experts.end(),
                   [&](std::size_t a, std::size_t b) { return s.expert_counts[a] > s.expert_counts[b]; });
  experts.resize(std::min(experts.size(), most));
  std::sort(experts.begin(), experts.end());
  return experts;
}

std::string pair_maps(const ReportRun& run, std::size_t most, bool titles) {
  std::vector<HeatMap> maps;
  double highest = 0;
  for (std::size_t layer : drawn_layers(layer_count(run))) {
    const FeedforwardStatistics& s = run.analysis->layers[layer];
    const std::vector<std::size_t> shown = shown_experts(s, most);
    if (shown.size() < 2) continue;
    HeatMap map{.title = fmt::format("Layer {}", layer),
                .note = shown.size() < s.expert_counts.size() ? fmt::format("{} most used", shown.size()) : "",
                .names = {},
                .cells = company(s, shown)};
    for (std::size_t expert : shown) map.names.push_back(fmt::format("{}", expert));
    highest = std::max(highest, *std::max_element(map.cells.begin(), map.cells.end()));
    maps.push_back(std::move(map));
  }
  std::string html;
  for (HeatMap& map : maps) {
    map.highest = highest;
    map.titles = titles;
    html += draw(map);
  }
  if (html.empty()) return "";
  return fmt::format("<p class=\"quiet\">0<span class=\"ramp\"></span>{:.3g}</p>\n<div class=\"maps\">\n{}</div>\n",
                     highest, html);
}

std::string pairs(std::span<const ReportRun> runs) {
  double maps = 0, cells = 0;
  for (const ReportRun& run : runs) {
    if (run.config.feedforward.kind != "moe" || run.config.feedforward.k < 2) continue;
    const auto layers = static_cast<double>(std::min(layer_count(run), kMostLayers));
    maps += layers;
    cells += layers * std::pow(static_cast<double>(run.config.feedforward.experts), 2);
  }
  if (maps == 0) return "";
  const auto most = static_cast<std::size_t>(std::clamp(std::sqrt(kMostCells / maps), 4.0, 64.0));
  std::string html;
  for (const ReportRun& run : runs) {
    const bool chooses = run.config.feedforward.kind == "moe" && run.config.feedforward.k > 1;
    const std::string drawn = run.analysis && chooses ? pair_maps(run, most, cells <= kMostTitledCells) : "";
    if (!drawn.empty() && runs.size() > 1) html += "<h3>" + html_text(run.name) + "</h3>\n";
    html += drawn;
  }
  if (html.empty()) return "";
  return "<h3>Which experts go together</h3>\n<p class=\"quiet\">A row is an expert, its cells the share of each other "
         "expert among those chosen for the same token.</p>\n" +
         html;
}

// --- the figures -------------------------------------------------------------------------------------------------

std::string row(const FeedforwardStatistics& s, std::size_t layer) {
  std::string html = fmt::format(
      "<tr><td>{}</td><td>{:.1f} ± {:.1f}</td><td>{:.1f} %</td>", layer, s.active.mean(), s.active.deviation(),
      100 * s.active.mean() / static_cast<double>(std::max<std::int64_t>(s.active.channels, 1)));
  if (!s.expert_counts.empty()) {
    const ExpertUsage usage = expert_usage(s.expert_counts);
    const auto experts = static_cast<double>(s.expert_counts.size());
    html += fmt::format("<td>{:.3f}</td><td>{:.2f}</td><td>{:.2f}</td><td>{}</td><td>{:.2f} – {:.2f}</td>",
                        std::pow(experts, usage.entropy - 1), usage.utilisation_max, usage.utilisation_min, usage.dead,
                        s.smallest_gate, s.largest_gate);
  }
  return html + "</tr>\n";
}

std::string figures(std::span<const ReportRun> runs) {
  std::string html;
  for (const ReportRun& run : runs) {
    if (layer_count(run) == 0) continue;
    const bool experts = !run.analysis->layers[0].expert_counts.empty();
    html += fmt::format(
        "<details{}><summary>Figures per layer{}</summary>\n<div class=\"wide\"><table>\n<tr><th>layer"
        "</th><th>active</th><th>share</th>{}</tr>\n",
        runs.size() == 1 ? " open=\"open\"" : "", runs.size() == 1 ? "" : " of " + html_text(run.name),
        experts ? "<th>usage</th><th>busiest</th><th>idlest</th><th>dead</th><th>gates</th>" : "");
    for (std::size_t layer = 0; layer < layer_count(run); ++layer) html += row(run.analysis->layers[layer], layer);
    html += "</table></div>\n<p class=\"quiet\">Share: of the hidden units that a token computes.";
    if (experts)
      html +=
          " Usage: the perplexity of the selections over the number of experts. Busiest, idlest: load over fair share. "
          "Dead: never chosen.";
    html += "</p></details>\n";
  }
  return html;
}

// Why a run, or a part of this section, is not there.
std::string absences(std::span<const ReportRun> runs) {
  std::string html;
  for (const ReportRun& run : runs) {
    const std::string name = runs.size() == 1 ? "This run" : html_text(run.name);
    if (!run.analysis)
      html += fmt::format(
          "<p class=\"note\">{} is not shown here, because its feedforwards could not be measured: {}</p>\n", name,
          html_text(run.missing, 500));
    else if (run.config.feedforward.kind != "moe")
      html += fmt::format(
          "<p class=\"quiet\">{} has no experts in its feedforwards ({}), hence no popularity and no pairs."
          "</p>\n",
          name, html_text(run.config.feedforward.kind));
  }
  return html;
}

}  // namespace

std::string experts_section(std::span<const ReportRun> runs) {
  const std::size_t layers = most_layers(runs);
  std::string html = "<section>\n<h2>What the feedforwards do</h2>\n" + measured_on(runs) + absences(runs);
  if (layers == 0) return html + "</section>\n";
  if (layers > kMostLayers)
    html += fmt::format("<p class=\"quiet\">{} of {} layers are drawn.</p>\n", kMostLayers, layers);
  return html + run_keys(runs) + "<div class=\"beside\">\n" + active_chart(runs) + "<div>\n" + figures(runs) +
         "</div>\n</div>\n" + popularity(runs) + pairs(runs) + "</section>\n";
}

}  // namespace weir
