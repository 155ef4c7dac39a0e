#include "tools/weir/report/thinning.h"

#include <map>

namespace weir {
namespace {

constexpr std::size_t kFewPoints = 10, kFewest = 3;

bool drawable(double y, Scale scale) { return std::isfinite(y) && (scale == Scale::linear || y > 0); }

// Half the distance from the 1st to the 99th percentile is added on both sides, where the data goes that far.
Range without_outliers(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t rest = values.size() / 100;
  const double low = values[rest], high = values[values.size() - 1 - rest], margin = (high - low) / 2;
  return {std::max(values.front(), low - margin), std::min(values.back(), high + margin)};
}

// Of several runs, so that one which diverged does not flatten the others: up to three times what the best one needs.
void cut_worse_runs(Range& range, const LineChart& chart, double from) {
  std::map<std::size_t, std::vector<double>> runs;
  for (const Line& line : chart.lines)
    for (const Point& point : line.points)
      if (drawable(point.y, chart.scale) && point.x >= from) runs[line.run].push_back(point.y);
  double lowest = range.high;
  for (const auto& [run, values] : runs)
    if (values.size() >= kFewest) lowest = std::min(lowest, without_outliers(values).high);
  if (runs.size() > 1 && lowest > 0) range.high = std::min(range.high, 3 * lowest);
}

}  // namespace

Range x_range(const LineChart& chart) {
  if (chart.x_high > chart.x_low) return {chart.x_low, chart.x_high};
  Range range;
  for (const Line& line : chart.lines)
    for (const Point& point : line.points) range.include(point.x);
  return range;
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
  Range range = without_outliers(values.size() < kFewPoints ? all : values);
  if (chart.cut_start) cut_worse_runs(range, chart, from);
  if (!chart.from_zero) return range;
  return {0, range.high > 0 ? range.high : 1};
}

std::vector<Bucket> thinned(const std::vector<Point>& points, std::size_t most, Scale scale, const Range& x) {
  std::vector<Bucket> buckets;
  const double width = (x.high - x.low) / static_cast<double>(most);
  const auto bucket_of = [&](double at) { return points.size() <= most ? -1 : std::floor((at - x.low) / width); };
  for (std::size_t i = 0; i < points.size();) {
    const double number = bucket_of(points[i].x);
    Bucket bucket;
    double sum = 0, count = 0;
    do {
      const Point& point = points[i++];
      bucket.x = point.x;
      if (!std::isfinite(point.y))
        bucket.has_not_finite = true;
      else
        bucket.values.include(point.y);
      if (!drawable(point.y, scale)) continue;
      sum += point.y;
      ++count;
    } while (number >= 0 && i < points.size() && bucket_of(points[i].x) == number);
    if (count > 0) bucket.mean = sum / count;
    buckets.push_back(bucket);
  }
  return buckets;
}

}  // namespace weir
