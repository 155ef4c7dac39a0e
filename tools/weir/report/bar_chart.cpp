#include <fmt/format.h>

#include <algorithm>

#include "tools/weir/report/charts.h"
#include "tools/weir/report/frame.h"
#include "tools/weir/report/html.h"

namespace weir {
namespace {

constexpr std::size_t kMostNames = 24;

std::string bar(const Bar& bar, std::size_t colour, double left, double width, const Axis& y) {
  const double top = y(bar.mean), middle = left + width / 2, whisker = std::min(4.0, width / 4);
  const double high = y(bar.mean + bar.deviation), low = y(std::max(0.0, bar.mean - bar.deviation));
  return fmt::format(
      "<g class=\"bar c{}\"><title>{}</title><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>"
      "<path d=\"M{:.1f} {:.1f}h{:.1f}m{:.1f} 0V{:.1f}m{:.1f} 0h{:.1f}\"/></g>",
      colour % 8, html_text(bar.title), left, top, width, y(0) - top, middle - whisker, high, 2 * whisker, -whisker,
      low, -whisker, 2 * whisker);
}

}  // namespace

std::string draw(const BarChart& chart) {
  double highest = 0;
  for (const auto& group : chart.bars)
    for (const Bar& b : group) highest = std::max(highest, b.mean + b.deviation);
  const Frame frame(false);
  const Axis y(0, highest > 0 ? 1.03 * highest : 1, Scale::linear, frame.height(), 0);
  const double group_width = frame.width() / static_cast<double>(std::max<std::size_t>(chart.groups.size(), 1));
  const std::size_t every = (chart.groups.size() + kMostNames - 1) / kMostNames;
  std::vector<Axis::Tick> names;
  std::string bars;
  for (std::size_t i = 0; i < chart.groups.size(); ++i) {
    const double left = static_cast<double>(i) * group_width;
    if (i % every == 0) names.push_back({left + group_width / 2, chart.groups[i]});
    const double width = 0.76 * group_width / static_cast<double>(std::max<std::size_t>(chart.bars[i].size(), 1));
    for (std::size_t run = 0; run < chart.bars[i].size(); ++run)
      bars +=
          bar(chart.bars[i][run], run, left + 0.12 * group_width + static_cast<double>(run) * width, 0.92 * width, y);
  }
  return frame.figure(
      {.title = chart.title, .note = chart.note},
      frame.grid(y.ticks(6)) + frame.scale_below(names) + frame.label_below(chart.x_label) + frame.plot(bars));
}

}  // namespace weir
