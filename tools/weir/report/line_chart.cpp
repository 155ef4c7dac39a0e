#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "tools/weir/report/charts.h"
#include "tools/weir/report/frame.h"
#include "tools/weir/report/html.h"

namespace weir {
namespace {

constexpr std::size_t kMostBuckets = 300, kMostMarkers = 60, kFewPoints = 10;

bool drawable(double y, Scale scale) { return std::isfinite(y) && (scale == Scale::linear || y > 0); }

struct Range {
  double low = INFINITY, high = -INFINITY;
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

Range x_range(const LineChart& chart) {
  Range range;
  for (const Line& line : chart.lines)
    for (const Point& point : line.points) range.include(point.x);
  return range;
}

// Half the distance from the 1st to the 99th percentile is added on both sides, where the data goes that far.
Range without_outliers(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t rest = values.size() / 100;
  const double low = values[rest], high = values[values.size() - 1 - rest], margin = (high - low) / 2;
  return {std::max(values.front(), low - margin), std::min(values.back(), high + margin)};
}

Range y_range(const LineChart& chart, const Range& x) {
  if (chart.y_high > chart.y_low) return {chart.y_low, chart.y_high};
  const double from = chart.cut_start ? x.low + 0.05 * (x.high - x.low) : x.low;
  std::vector<double> values, all;
  for (const Line& line : chart.lines)
    for (const Point& point : line.points) {
      if (!drawable(point.y, chart.scale)) continue;
      all.push_back(point.y);
      if (point.x >= from) values.push_back(point.y);
    }
  if (all.empty()) return {};
  const Range range = without_outliers(values.size() < kFewPoints ? all : values);
  return {chart.from_zero ? 0 : range.low, range.high};
}

struct Bucket {
  double x, mean, low, high;  // x of its last point; NaN where nothing can be drawn
};

// Of each line: the more lines, the fewer, so that the size of a chart is bounded.
std::size_t buckets_of(const LineChart& chart) {
  return std::min(kMostBuckets, (chart.small ? 1200 : 2400) / std::max<std::size_t>(chart.lines.size(), 1));
}

std::vector<Bucket> thinned(const std::vector<Point>& points, std::size_t most, Scale scale, const Range& x) {
  std::vector<Bucket> buckets;
  const double width = (x.high - x.low) / static_cast<double>(most);
  const auto bucket_of = [&](double at) { return points.size() <= most ? -1 : std::floor((at - x.low) / width); };
  for (std::size_t i = 0; i < points.size();) {
    const double bucket = bucket_of(points[i].x);
    Range range;
    double sum = 0, count = 0, at = points[i].x;
    do {
      at = points[i].x;
      if (drawable(points[i].y, scale)) {
        range.include(points[i].y);
        sum += points[i].y;
        ++count;
      }
      ++i;
    } while (bucket >= 0 && i < points.size() && bucket_of(points[i].x) == bucket);
    buckets.push_back({at, count > 0 ? sum / count : NAN, range.low, range.high});
  }
  return buckets;
}

void add_band(std::string& svg, const Line& line, const std::vector<Bucket>& buckets, const Axis& x, const Axis& y) {
  std::string forth, back;
  for (const Bucket& bucket : buckets) {
    if (std::isnan(bucket.mean)) continue;
    forth += fmt::format("{}{:.1f} {:.1f}", forth.empty() ? 'M' : 'L', x(bucket.x), y(bucket.high));
    back = fmt::format("L{:.1f} {:.1f}", x(bucket.x), y(bucket.low)) + back;
  }
  if (!forth.empty()) svg += fmt::format("<path class=\"band c{}\" d=\"{}{}z\"/>", line.colour % 8, forth, back);
}

void add_line(std::string& svg, const Line& line, const std::vector<Bucket>& buckets, const Axis& x, const Axis& y) {
  constexpr const char* kStyles[] = {"", " faint", " marked", " dashed"};
  const std::string attributes =
      fmt::format("class=\"line c{}{}{}\" data-label=\"{}\"", line.colour % 8, line.colour >= 8 ? " second" : "",
                  kStyles[static_cast<int>(line.style)], html_text(line.label));
  std::string points;
  const auto flush = [&] {
    if (!points.empty()) svg += fmt::format("<polyline {} points=\"{}\"/>", attributes, points);
    points.clear();
  };
  for (const Bucket& bucket : buckets) {
    if (std::isnan(bucket.mean))
      flush();
    else
      points += fmt::format("{}{:.1f},{:.2f}", points.empty() ? "" : " ", x(bucket.x), y(bucket.mean));
  }
  flush();
  if (line.style != Line::Style::marked || buckets.size() > kMostMarkers) return;
  for (const Bucket& bucket : buckets)
    if (!std::isnan(bucket.mean))
      svg += fmt::format("<circle class=\"c{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\"/>", line.colour % 8, x(bucket.x),
                         y(bucket.mean));
}

}  // namespace

std::string draw(const LineChart& chart) {
  const Range across = x_range(chart);
  if (across.empty()) return "";
  const Range up = y_range(chart, across);
  if (up.empty()) return "";
  const Frame frame(chart.small);
  const Axis x(across.low, across.high, Scale::linear, Frame::kInset, frame.width() - Frame::kInset);
  const Axis y(up.low, up.high, chart.scale, frame.height() - Frame::kInset, Frame::kInset);
  std::string lines;
  for (const Line& line : chart.lines) {
    const std::vector<Bucket> buckets = thinned(line.points, buckets_of(chart), chart.scale, across);
    if (buckets.size() < line.points.size()) add_band(lines, line, buckets, x, y);
    add_line(lines, line, buckets, x, y);
  }
  const std::string data = fmt::format(" data-x=\"{}\" data-y=\"{}\" data-name=\"{}\"", x.attribute(), y.attribute(),
                                       html_text(chart.x_label));
  return frame.figure(chart.title, chart.note, data,
                      frame.grid(y.ticks(chart.small ? 4 : 6)) + frame.scale_below(x.ticks(chart.small ? 4 : 6)) +
                          frame.label_below(chart.x_label) + frame.plot(lines));
}

}  // namespace weir
