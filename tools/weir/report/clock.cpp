#include "tools/weir/report/clock.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/text.h"
#include "tools/weir/report/frame.h"

namespace weir {
namespace {

constexpr double kTolerance = 0.002;  // of the whole time, when moments are left out

// Linear between the points and from 0, as fast as on the whole beyond the last one.
double interpolated(const MetricSeries& series, double step) {
  MetricPoint before{0, 0};
  for (const MetricPoint& point : series) {
    const auto from = static_cast<double>(before.step), to = static_cast<double>(point.step);
    if (step <= to)
      return to == from ? point.value : before.value + (point.value - before.value) * (step - from) / (to - from);
    before = point;
  }
  return before.step == 0 ? 0 : before.value * step / static_cast<double>(before.step);
}

// A damaged file may hold anything: points that go back in time are left out.
MetricSeries ascending(const MetricSeries& series) {
  MetricSeries points;
  for (const MetricPoint& point : series)
    if (std::isfinite(point.value) && point.step > 0 && point.value >= (points.empty() ? 0 : points.back().value))
      points.push_back(point);
  return points;
}

// The points that are needed to come within the tolerance of all by straight lines: the last of those that one line
// from the point before them still meets.
MetricSeries sparse(const MetricSeries& series) {
  MetricSeries kept;
  if (series.empty()) return kept;
  const double tolerance = kTolerance * series.back().value;
  MetricPoint anchor{0, 0};
  double lowest = -INFINITY, highest = INFINITY;  // slopes
  for (std::size_t i = 0; i < series.size(); ++i) {
    const auto slope_to = [&](double value) {
      return (value - anchor.value) / static_cast<double>(series[i].step - anchor.step);
    };
    const double slope = slope_to(series[i].value);
    if (i > 0 && (slope < lowest || slope > highest)) {
      anchor = series[i - 1];
      kept.push_back(anchor);
      lowest = -INFINITY;
      highest = INFINITY;
    }
    lowest = std::max(lowest, slope_to(series[i].value - tolerance));
    highest = std::min(highest, slope_to(series[i].value + tolerance));
  }
  kept.push_back(series.back());
  return kept;
}

std::string button(Clock clock, bool pressed) {
  return fmt::format("<button type=\"button\" data-clock=\"{}\" aria-pressed=\"{}\">{}</button>", clock_name(clock),
                     pressed, clock_name(clock));
}

}  // namespace

const char* clock_name(Clock clock) {
  return clock == Clock::step ? "step" : clock == Clock::tokens ? "tokens" : "training time";
}

Clocks::Clocks(std::span<const ReportRun> runs) {
  known_ = {Clock::step, Clock::tokens, Clock::time};
  for (const ReportRun& run : runs) {
    const double last = static_cast<double>(run_result(run.metrics).last_step);
    runs_.push_back({last, run.tokens_per_step(), sparse(ascending(run.metrics.of("train/seconds")))});
    if (last > 0 && runs_.back().seconds.empty()) std::erase(known_, Clock::time);
    if (run.tokens_per_step() != runs[0].tokens_per_step()) usual_ = Clock::tokens;
  }
}

double Clocks::at(Clock clock, std::size_t run, double step) const {
  if (clock == Clock::time) return interpolated(runs_[run].seconds, step);
  return clock == Clock::tokens ? step * runs_[run].tokens_per_step : step;
}

double Clocks::end(Clock clock) const {
  double end = 0;
  for (std::size_t run = 0; run < runs_.size(); ++run) end = std::max(end, at(clock, run, runs_[run].last_step));
  return end > 0 ? end : 1;
}

std::string Clocks::axis_json(Clock clock) const {
  const Axis axis(0, end(clock), Scale::linear, Frame::kInset, Frame(false).width() - Frame::kInset,
                  clock == Clock::time ? Numbers::seconds : Numbers::whole);
  std::vector<std::string> ticks;
  for (const Axis::Tick& tick : axis.ticks(6)) ticks.push_back(fmt::format("[{:.1f},\"{}\"]", tick.at, tick.label));
  return fmt::format("\"{}\":{{\"ends\":\"{}\",\"ticks\":[{}]}}", clock_name(clock), axis.attribute(),
                     join(ticks, ","));
}

std::string Clocks::run_json(std::size_t number) const {
  const Run& run = runs_[number];
  std::vector<double> steps{0};
  for (const MetricPoint& point : run.seconds)
    if (static_cast<double>(point.step) < run.last_step) steps.push_back(static_cast<double>(point.step));
  steps.push_back(std::max(run.last_step, 1.0));
  std::vector<std::string> clocks;
  for (Clock clock : known_) {
    std::vector<std::string> values;
    for (double step : steps) values.push_back(fmt::format("{:.7g}", at(clock, number, step)));
    clocks.push_back(fmt::format("\"{}\":[{}]", clock_name(clock), join(values, ",")));
  }
  return "{" + join(clocks, ",") + "}";
}

std::string Clocks::switch_html() const {
  if (runs_.empty()) return "";
  std::string buttons;
  std::vector<std::string> axes, runs;
  for (Clock clock : known_) {
    buttons += button(clock, clock == usual_);
    axes.push_back(axis_json(clock));
  }
  for (std::size_t run = 0; run < runs_.size(); ++run) runs.push_back(run_json(run));
  return fmt::format(
      "<div class=\"switch\" role=\"group\" aria-label=\"horizontal axis\" hidden=\"hidden\" data-usual=\"{}\" "
      "data-clocks='{{\"axes\":{{{}}},\"runs\":[{}]}}'>{}</div>\n",
      clock_name(usual_), join(axes, ","), join(runs, ","), buttons);
}

}  // namespace weir
