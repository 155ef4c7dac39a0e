#include "train/metrics_reader.h"

#include <fmt/format.h>

#include <cmath>

#include "core/error.h"
#include "core/stored_json.h"
#include "core/text.h"
#include "train/text/text_stream.h"

namespace weir {
namespace {

void append(MetricSeries& series, MetricPoint point) {
  while (!series.empty() && series.back().step >= point.step) series.pop_back();
  series.push_back(point);
}

// `place` is the file and the line. False for what is no record of a step.
bool read_line(const std::string& line, const std::string& place, MetricsHistory& history) {
  try {
    const StoredJson object = StoredJson::parse(line, place, refuse_stored);
    const std::int64_t step = object.count("step");
    for (const auto& [name, value] : object.numbers())
      if (name != "step") append(history.series[name], {step, value});
  } catch (const RunError& error) {
    if (history.first_wrong.empty()) history.first_wrong = error.what();
    return false;
  }
  return true;
}

}  // namespace

const MetricSeries& MetricsHistory::of(const std::string& name) const {
  static const MetricSeries none;
  const auto found = series.find(name);
  return found == series.end() ? none : found->second;
}

std::optional<double> MetricsHistory::last(const std::string& name) const {
  const MetricSeries& points = of(name);
  return points.empty() ? std::nullopt : std::optional(points.back().value);
}

std::optional<MetricPoint> MetricsHistory::lowest(const std::string& name) const {
  std::optional<MetricPoint> best;
  for (const MetricPoint& point : of(name))
    if (!std::isnan(point.value) && (!best || point.value < best->value)) best = point;
  return best;
}

std::string passed_over(const MetricsHistory& history) {
  return fmt::format(
      "{}; this line is passed over{}", history.first_wrong,
      history.damaged_lines > 1 ? fmt::format(", one of {} that are damaged", history.damaged_lines) : "");
}

MetricsHistory read_metrics(const std::string& path) {
  const auto text = open_plain(path, Empty::allowed);
  LineReader lines(*text);
  MetricsHistory history;
  for (std::string line; lines.append_line(line); line.clear())
    history.damaged_lines += !read_line(line, fmt::format("{}:{}", path, lines.lines()), history);
  return history;
}

}  // namespace weir
