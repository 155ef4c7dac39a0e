// What curves are drawn against: steps, tokens or time, and how one becomes the other.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tools/weir/report/axis.h"
#include "tools/weir/report/report_run.h"

namespace weir {

enum class Clock { step, tokens, time };
const char* clock_name(Clock clock);  // "step", "tokens", "training time"

class Clocks {
 public:
  explicit Clocks(std::span<const ReportRun> runs);

  // Steps, unless the runs take different numbers of tokens per step: then tokens.
  Clock usual() const { return usual_; }
  double at(Clock clock, std::size_t run, double step) const;
  double end(Clock clock) const;  // that of the run that goes furthest; all curves start at 0

  // The switch between them, hidden until the page's script takes it over, with what that needs to redraw: per clock
  // the ends and ticks of the axis, per run the same moments on all clocks. Empty where there is nothing to switch.
  std::string switch_html() const;

 private:
  struct Run {
    double last_step = 0, tokens_per_step = 0;
    MetricSeries seconds;  // ascending in both, no more points than straight lines between them need
  };

  std::string axis_json(Clock clock) const;
  std::string run_json(std::size_t number) const;

  std::vector<Run> runs_;
  std::vector<Clock> known_;
  Clock usual_ = Clock::step;
};

}  // namespace weir
