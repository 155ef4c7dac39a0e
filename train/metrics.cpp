#include "train/metrics.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

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

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void sync_folder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int descriptor = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

bool replace_file(const std::string& path, const std::string& text) {
  const std::string temporary = fmt::format("{}.tmp-{}", path, getpid());
  const int descriptor = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor < 0) return false;
  const bool written = write_all(descriptor, text) && fsync(descriptor) == 0;
  const int reason = errno;
  const bool closed = close(descriptor) == 0;
  if (written && closed && std::rename(temporary.c_str(), path.c_str()) == 0) {
    sync_folder(path);
    return true;
  }
  const int last_reason = written ? errno : reason;
  unlink(temporary.c_str());
  errno = last_reason;
  return false;
}

void drop_lines_from(const std::string& path, std::int64_t first_step, const Warn& warn) {
  const KeptLines kept = kept_lines(path, first_step);
  if (!kept.changed && !kept.failed) return;
  if (!kept.failed && replace_file(path, kept.text)) return;
  warn(fmt::format("cannot rewrite {}: {} (errno {}); the run goes on, and steps from {} on may stand in it twice",
                   quote(path), std::strerror(errno), errno, first_step));
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
