#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/weir/report/charts.h"
#include "tools/weir/report/edge_marks.h"
#include "tools/weir/report/frame.h"
#include "tools/weir/report/html.h"
#include "tools/weir/report/thinning.h"

namespace weir {
namespace {

constexpr std::size_t kMostBuckets = 300, kMostMarkers = 60;

// Of each line: the more lines, the fewer, so that the size of a chart is bounded.
std::size_t buckets_of(const LineChart& chart) {
  return std::min(kMostBuckets, (chart.small ? 1200 : 2400) / std::max<std::size_t>(chart.lines.size(), 1));
}

std::string line_class(Line::Style style) {
  constexpr const char* kStyles[] = {"", " faint", " marked", " dashed"};
  return std::string("line") + kStyles[static_cast<int>(style)];
}

void add_band(std::string& svg, const Line& line, const std::vector<Bucket>& buckets, const Axis& x, const Axis& y) {
  std::string forth, back;
  for (const Bucket& bucket : buckets) {
    if (std::isnan(bucket.mean)) continue;
    forth += fmt::format("{}{:.1f} {:.1f}", forth.empty() ? 'M' : 'L', x(bucket.x), y(bucket.values.high));
    back = fmt::format("L{:.1f} {:.1f}", x(bucket.x), y(bucket.values.low)) + back;
  }
  if (!forth.empty()) svg += fmt::format("<path class=\"band c{}\" d=\"{}{}z\"/>", line.colour % 8, forth, back);
}

// A piece of one point alone is no line, and gets a marker.
void add_line(std::string& svg, const Line& line, const std::vector<Bucket>& buckets, const Axis& x, const Axis& y) {
  const std::string attributes = fmt::format("class=\"{} c{}{}\" data-label=\"{}\"", line_class(line.style),
                                             line.colour % 8, line.colour >= 8 ? " second" : "", html_text(line.label));
  const bool marked = line.style == Line::Style::marked && buckets.size() <= kMostMarkers;
  std::string points, markers;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    const Bucket& bucket = buckets[i];
    if (std::isnan(bucket.mean)) continue;
    const bool first = i == 0 || std::isnan(buckets[i - 1].mean),
               last = i + 1 == buckets.size() || std::isnan(buckets[i + 1].mean);
    points += fmt::format("{}{:.1f},{:.2f}", first ? "" : " ", x(bucket.x), y(bucket.mean));
    if (marked || (first && last))
      markers += fmt::format("<circle class=\"c{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\"/>", line.colour % 8,
                             x(bucket.x), y(bucket.mean));
    if (!last) continue;
    svg += fmt::format("<polyline {} points=\"{}\"/>", attributes, points);
    points.clear();
  }
  svg += markers;
}

// A sample per curve, in its colour where all its lines have the same. One curve alone is what the title says.
std::string curve_legend(const LineChart& chart) {
  struct Entry {
    const Line* line;
    bool one_colour;
  };
  std::vector<Entry> entries;
  for (const Line& line : chart.lines) {
    if (line.points.empty()) continue;
    const auto known = std::find_if(entries.begin(), entries.end(),
                                    [&](const Entry& entry) { return entry.line->curve == line.curve; });
    if (known == entries.end())
      entries.push_back({&line, true});
    else
      known->one_colour = known->one_colour && known->line->colour == line.colour;
  }
  std::string html;
  if (entries.size() > 1)
    for (const Entry& entry : entries)
      html += fmt::format(
          "<span>{}{}</span>",
          line_sample(entry.line->style, entry.one_colour ? fmt::format("c{}", entry.line->colour % 8) : "ink"),
          html_text(entry.line->curve));
  return html;
}

std::string note_of(const LineChart& chart, bool has_scale) {
  if (chart.scale == Scale::linear || !has_scale) return chart.note;
  return chart.note.empty() ? "log scale" : chart.note + "; log scale";
}

bool has_points(const LineChart& chart) {
  return std::any_of(chart.lines.begin(), chart.lines.end(), [](const Line& line) { return !line.points.empty(); });
}

}  // namespace

std::string line_sample(Line::Style style, const std::string& colour_class) {
  return fmt::format("<svg class=\"sample\" viewBox=\"0 0 26 10\"><path class=\"{} {}\" d=\"M1 5h24\"/>{}</svg>",
                     line_class(style), colour_class,
                     style == Line::Style::marked
                         ? fmt::format("<circle class=\"{}\" cx=\"13\" cy=\"5\" r=\"2.5\"/>", colour_class)
                         : "");
}

std::string draw(const LineChart& chart) {
  if (!has_points(chart)) return "";
  const Range across = x_range(chart), up = y_range(chart, across);
  const Frame frame(chart.small);
  const Axis x(across.low, across.high, Scale::linear, Frame::kInset, frame.width() - Frame::kInset, Numbers::whole);
  const Axis y = up.empty()
                     ? Axis(1, 2, Scale::linear, frame.height(), 0)
                     : Axis(up.low, up.high, chart.scale, frame.height() - Frame::kInset, Frame::kInset, chart.numbers);
  EdgeMarks marks(frame, x, y);
  std::string lines;
  for (const Line& line : chart.lines) {
    const std::vector<Bucket> buckets = thinned(line.points, buckets_of(chart), chart.scale, across);
    std::string svg;
    if (buckets.size() < line.points.size()) add_band(svg, line, buckets, x, y);
    add_line(svg, line, buckets, x, y);
    if (!chart.small) svg += marks.of(buckets, line.colour);
    if (!svg.empty()) lines += fmt::format("<g data-run=\"{}\">{}</g>", line.run, svg);
  }
  const std::string data = fmt::format(" data-x=\"{}\" data-y=\"{}\" data-name=\"{}\"{}", x.attribute(), y.attribute(),
                                       html_text(chart.x_label), chart.switched ? " data-switched=\"yes\"" : "");
  const int most = chart.small ? 4 : 6;
  return frame.figure({.title = chart.title,
                       .note = note_of(chart, !up.empty()),
                       .legend = chart.small ? "" : curve_legend(chart) + marks.legend(),
                       .attributes = data},
                      (up.empty() ? "" : frame.grid(y.ticks(most))) + frame.scale_below(x.ticks(most)) +
                          frame.label_below(chart.x_label) + frame.plot(lines));
}

}  // namespace weir
