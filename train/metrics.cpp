#include "train/metrics.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"

namespace weir {
namespace {

bool is_kept(const std::string& line, std::int64_t first_step) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object()) return false;
  const auto step = json.find("step");
  return step != json.end() && step->is_number_integer() && step->get<std::int64_t>() < first_step;
}

struct KeptLines {
  std::string text;
  bool changed = false;  // some line of the file is not among them
  bool failed = false;   // reading broke off
};

KeptLines kept_lines(const std::string& path, std::int64_t first_step) {
  std::ifstream file(path, std::ios::binary);
  KeptLines kept;
  std::string line;
  while (std::getline(file, line)) {
    const bool complete = !file.eof();  // without a line end the last line was cut by a crash
    if (complete && is_kept(line, first_step)) {
      kept.text += line + "\n";
    } else {
      kept.changed = true;
    }
  }
  kept.failed = file.bad();
  return kept;
}

void drop_lines_from(const std::string& path, std::int64_t first_step, const Warn& warn) {
  const KeptLines kept = kept_lines(path, first_step);
  if (!kept.changed && !kept.failed) return;
  try {
    if (kept.failed) throw RunError(ExitCode::io, path + ": reading failed; check the disk");
    write_file_atomically(path, kept.text);
  } catch (const RunError& error) {
    warn(fmt::format("{}; the run goes on, and steps from {} on may stand in it twice", error.what(), first_step));
  }
}

}  // namespace

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string metrics_line(std::int64_t step, double wall_time, std::span<const Metric> metrics) {
  std::string line = fmt::format("{{\"step\":{},\"time\":{:.3f}", step, wall_time);
  for (const Metric& metric : metrics) {
    line += "," + quote(metric.name) + ":" + (std::isfinite(metric.value) ? fmt::format("{}", metric.value) : "null");
  }
  return line + "}\n";
}

MetricsLog::MetricsLog(const std::string& path, std::int64_t first_step, Warn warn) : file_(path, warn) {
  drop_lines_from(path, first_step, warn);
}

void MetricsLog::write(std::int64_t step, std::span<const Metric> metrics) {
  file_.append(metrics_line(step, wall_time(), metrics));
}

}  // namespace weir
