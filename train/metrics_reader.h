// Reading metrics.jsonl, also while a run writes it or after a crash damaged it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace weir {

struct MetricPoint {
  std::int64_t step;
  double value;  // NaN where the file says null
};
using MetricSeries = std::vector<MetricPoint>;  // each step once, ascending

struct MetricsHistory {
  std::map<std::string, MetricSeries> series;  // by name; "time" is among them
  std::int64_t damaged_lines = 0;              // passed over: cut off, no JSON, or without a step that can be
  std::string first_wrong{};                   // the first of these: file, line, and why; empty: there is none

  const MetricSeries& of(const std::string& name) const;  // empty where there is none
  std::optional<double> last(const std::string& name) const;
  std::optional<MetricPoint> lowest(const std::string& name) const;  // NaN aside; of equal ones the first
};

// A line with an earlier step than those before it comes from a run that was taken up again there: it replaces what
// its series had from that step on. Throws RunError(io) where the file cannot be opened or read, or is no regular file.
MetricsHistory read_metrics(const std::string& path);

// A warning about `first_wrong`.
std::string passed_over(const MetricsHistory& history);

}  // namespace weir
