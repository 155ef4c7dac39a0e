// metrics.jsonl: one JSON object per line, {"step":7,"time":1700000000.125,"train/loss":1.5}.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "train/append_file.h"

namespace weir {

struct Metric {
  std::string name;
  double value;
};

class MetricsLog {
 public:
  // `first_step` is the first step that this run will write. An existing file loses its lines from that step on, and
  // any line that a crash left damaged, and where this run will validate the step before it again, that step's
  // validation; it is replaced in one move, so no line is lost on the way.
  MetricsLog(const std::string& path, std::int64_t first_step, Warn warn = warn_on_stderr,
             bool validates_again = false);

  // Non-finite values are written as null: JSON has no others.
  void write(std::int64_t step, std::span<const Metric> metrics);

  void check() { file_.check(); }  // throws RunError(io) where lines that were written are not there

 private:
  AppendFile file_;
};

// The line that write() appends, its line end included.
std::string metrics_line(std::int64_t step, double wall_time, std::span<const Metric> metrics);

double wall_time();  // seconds since 1970

}  // namespace weir
