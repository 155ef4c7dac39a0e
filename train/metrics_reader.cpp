#include "train/metrics_reader.h"

#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace weir {
namespace {

void append(MetricSeries& series, MetricPoint point) {
  while (!series.empty() && series.back().step >= point.step) series.pop_back();
  series.push_back(point);
}

// False for a line that is no record of a step.
bool read_line(const std::string& line, MetricsHistory& history) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object()) return false;
  const auto step = json.find("step");
  if (step == json.end() || !step->is_number_integer()) return false;
  for (const auto& [name, value] : json.items()) {
    if (name == "step" || !(value.is_number() || value.is_null())) continue;
    const double number = value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
    append(history.series[name], {step->get<std::int64_t>(), number});
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

MetricsHistory read_metrics(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw RunError(ExitCode::io, fmt::format("{}: cannot open: {}; is this the folder of a run that has begun?", path,
                                             std::strerror(errno)));
  MetricsHistory history;
  std::string line;
  while (std::getline(file, line)) history.damaged_lines += !read_line(line, history);
  if (file.bad()) throw RunError(ExitCode::io, path + ": reading failed; check the disk");
  return history;
}

}  // namespace weir
