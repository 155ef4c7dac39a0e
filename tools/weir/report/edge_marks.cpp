#include "tools/weir/report/edge_marks.h"

#include <fmt/format.h>

namespace weir {
namespace {

constexpr double kDistance = 9;  // between marks of one kind, in picture units
constexpr const char* kUp = "l-4 6.5h8z";
constexpr const char* kDown = "l-4 -6.5h8z";
constexpr const char* kCross = "m-3.5 -3.5l7 7m0 -7l-7 7";

// A path that begins at `x`, which the page's script may move.
std::string mark(const char* kind, std::size_t colour, double x, double y, const char* shape) {
  return fmt::format("<path class=\"{} c{}\" d=\"M{:.1f} {:.1f}{}\"/>", kind, colour % 8, x, y, shape);
}

std::string sample(const char* kind, const char* shape, double y, const std::string& text) {
  return fmt::format(
      "<span><svg class=\"sample\" viewBox=\"0 0 12 10\"><path class=\"{} ink\" d=\"M6 {}{}\"/></svg>{}</span>", kind,
      y, shape, text);
}

}  // namespace

std::string EdgeMarks::of(const std::vector<Bucket>& buckets, std::size_t colour) {
  std::string svg;
  double last_up = -kDistance, last_down = -kDistance, last_cross = -kDistance;
  const auto far_enough = [](double& last, double at) {
    if (at - last < kDistance) return false;
    last = at;
    return true;
  };
  for (const Bucket& bucket : buckets) {
    const double at = x_(bucket.x);
    if (bucket.has_not_finite) {
      not_finite_ = true;
      if (far_enough(last_cross, at)) svg += mark("cross", colour, at, 6, kCross);
    }
    if (bucket.values.empty()) continue;
    if (y_(bucket.values.high) < 0) {
      above_ = true;
      beyond_.include(bucket.values.high);
      if (far_enough(last_up, at)) svg += mark("out", colour, at, 0.5, kUp);
    }
    if (y_(bucket.values.low) > frame_.height()) {
      below_ = true;
      beyond_.include(bucket.values.low);
      if (far_enough(last_down, at)) svg += mark("out", colour, at, frame_.height() - 0.5, kDown);
    }
  }
  return svg;
}

std::string EdgeMarks::legend() const {
  std::string html;
  if (above_) html += sample("out", kUp, 1.5, fmt::format("above the chart, up to {:.4g}", beyond_.high));
  if (below_) html += sample("out", kDown, 8.5, fmt::format("below the chart, down to {:.4g}", beyond_.low));
  if (not_finite_) html += sample("cross", kCross, 5, "not a finite number");
  return html;
}

}  // namespace weir
