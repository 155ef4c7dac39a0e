#include "train/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <vector>

namespace weir {
namespace {

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Decimals where they fit, an exponent where the number would get long.
std::string fixed_text(double number, int decimals) {
  if (!std::isfinite(number)) return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
  return std::abs(number) < 1e4 ? fmt::format("{:.{}f}", number, decimals) : fmt::format("{:.1e}", number);
}

// As wide as "bpb 2.646" for all but wild perplexities.
std::string quality_text(const Progress& p) {
  if (p.is_bytes) return "bpb " + fixed_text(p.loss / std::numbers::ln2, 3);
  const double perplexity = std::exp(p.loss);
  return "ppl " + fixed_text(perplexity, perplexity < 100 ? 2 : perplexity < 1000 ? 1 : 0);
}

struct Part {
  std::string text;
  int interest;  // the lowest is left out first
};

std::string joined(const std::vector<Part>& parts, const char* separator) {
  std::string text;
  for (const Part& part : parts) text += (text.empty() ? "" : separator) + part.text;
  return text;
}

void leave_out_least(std::vector<Part>& parts) {
  auto least = parts.begin();
  for (auto part = parts.begin(); part != parts.end(); ++part) {
    if (part->interest < least->interest) least = part;
  }
  parts.erase(least);
}

}  // namespace

std::string format_duration(double seconds) {
  if (!(seconds >= 0) || seconds > 3.2e9) return "?";
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h{:02}m", s / 3600, s % 3600 / 60);
  return fmt::format("{}d{:02}h", s / 86400, s % 86400 / 3600);
}

std::string format_si(double number) {
  if (!std::isfinite(number)) return fixed_text(number, 0);
  static constexpr const char* units[] = {"", "k", "M", "G", "T", "P"};
  std::size_t unit = 0;
  // 999.5 would print as 1000.
  for (; std::abs(number) >= 999.5 && unit + 1 < std::size(units); ++unit) number /= 1000;
  const double size = std::abs(number);
  if (unit == 0 && number == std::floor(number)) return fmt::format("{:.0f}", number);
  const int decimals = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f}{}", number, decimals, units[unit]);
}

std::string progress_text(const Progress& p, int columns) {
  std::vector<Part> parts;
  parts.push_back({p.steps > 0 ? fmt::format("step {}/{}", p.step, p.steps) : fmt::format("step {}", p.step), 6});
  parts.push_back({"loss " + fixed_text(p.loss, 3), 5});
  parts.push_back({quality_text(p), 2});
  parts.push_back({fmt::format("lr {:.1e}", p.learning_rate), 1});
  parts.push_back({format_si(p.tokens_per_second) + " tok/s", 3});
  parts.push_back({"grad " + fixed_text(p.gradient_norm, 2), 0});
  if (p.seconds_left >= 0) parts.push_back({"eta " + format_duration(p.seconds_left), 4});
  const auto limit = static_cast<std::size_t>(std::max(columns, 0));
  for (; parts.size() > 1; leave_out_least(parts))
    for (const char* separator : {" | ", "  ", " "})
      if (std::string line = joined(parts, separator); line.size() <= limit) return line;
  return parts[0].text;
}

ProgressLine::ProgressLine(Output& output, bool live, int columns) : output_(output), live_(live), columns_(columns) {}

void ProgressLine::draw() {
  // The last column stays empty: some terminals wrap as soon as it is written.
  const int columns = columns_ > 0 ? columns_ : output_.columns();
  output_.try_write("\r" + progress_text(newest_, columns - 1) + "\x1b[K");
  output_.try_flush();
  drawn_ = true;
  drawn_at_ = monotonic_seconds();
}

void ProgressLine::update(const Progress& progress, bool log_now) {
  newest_ = progress;
  if (live_) {
    if (log_now || !drawn_ || monotonic_seconds() - drawn_at_ >= 0.1) draw();
  } else if (log_now) {
    output_.try_write(progress_text(progress) + "\n");
    output_.try_flush();
  }
}

void ProgressLine::message(const std::string& text) {
  if (drawn_) output_.try_write("\r\x1b[K");
  output_.try_write(text + "\n");
  if (drawn_) draw();
  output_.try_flush();
}

void ProgressLine::finish() {
  if (!drawn_) return;
  draw();
  output_.try_write("\n");
  output_.try_flush();
  drawn_ = false;
}

}  // namespace weir
