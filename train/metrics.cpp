#include "train/metrics.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "core/error.h"
#include "core/file.h"
#include "core/stored_json.h"
#include "core/text.h"
#include "train/text/text_stream.h"

namespace weir {
namespace {

// The first step that will be written, and the first whose validation will be.
struct FirstSteps {
  std::int64_t of_all, of_validation;
};

// Of a whole line. What is no record of a step goes as well.
bool is_kept(const std::string& line, const FirstSteps& first) {
  const auto record = StoredJson::try_parse(line);
  const auto step = record ? record->try_count("step") : std::nullopt;
  return step && *step < (record->has("valid/loss") ? first.of_validation : first.of_all);
}

struct KeptLines {
  std::string text;
  bool changed = false;  // some line of the file is not among them
};

KeptLines kept_lines(const std::string& path, const FirstSteps& first) {
  KeptLines kept;
  if (!is_there(path, Links::themselves)) return kept;
  const auto text = open_plain(path, Empty::allowed);
  LineReader lines(*text);
  for (std::string line; lines.append_line(line); line.clear())
    // Without a line end the last line was cut by a crash.
    if (line.ends_with('\n') && is_kept(line, first))
      kept.text += line;
    else
      kept.changed = true;
  return kept;
}

void drop_lines_from(const std::string& path, const FirstSteps& first, const Warn& warn) {
  try {
    const KeptLines kept = kept_lines(path, first);
    if (kept.changed) write_file_atomically(path, kept.text);
  } catch (const RunError& error) {
    warn(fmt::format("{}; the run goes on, and steps from {} on may stand in it twice", error.what(),
                     first.of_validation));
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

MetricsLog::MetricsLog(const std::string& path, std::int64_t first_step, Warn warn, bool validates_again)
    : file_(path, warn) {
  drop_lines_from(path, {first_step, validates_again ? first_step - 1 : first_step}, warn);
}

void MetricsLog::write(std::int64_t step, std::span<const Metric> metrics) {
  file_.append(metrics_line(step, wall_time(), metrics));
}

}  // namespace weir
