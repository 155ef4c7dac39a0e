#include "tools/weir/report/frame.h"

#include <fmt/format.h>

#include "tools/weir/report/html.h"

namespace weir {
namespace {

// Around the plot, in picture units: room for the labels, at the larger letters of narrow screens too.
constexpr double kLeft = 64, kTop = 6, kRight = 20, kBottom = 44;

}  // namespace

std::string Frame::grid(const std::vector<Axis::Tick>& ticks) const {
  std::string svg;
  for (const Axis::Tick& tick : ticks)
    svg += fmt::format(
        "<path class=\"grid\" d=\"M{:.1f} {:.1f}h{:.1f}\"/><text class=\"end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
        kLeft, kTop + tick.at, width(), kLeft - 7, kTop + tick.at + 4, tick.label);
  return svg;
}

std::string Frame::scale_below(const std::vector<Axis::Tick>& ticks) const {
  std::string svg;
  for (const Axis::Tick& tick : ticks)
    svg += fmt::format("<text class=\"middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", kLeft + tick.at,
                       kTop + height() + 17, html_text(tick.label));
  return fmt::format("<g class=\"scale\">{}</g>", svg);
}

std::string Frame::label_below(const std::string& label) const {
  return fmt::format("<text class=\"middle axis\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", kLeft + width() / 2,
                     kTop + height() + 36, html_text(label));
}

std::string Frame::plot(const std::string& content) const {
  return fmt::format("<svg class=\"plot\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">{}</svg>", kLeft, kTop, width(),
                     height(), content);
}

std::string Frame::figure(const Caption& caption, const std::string& content) const {
  const std::string title = html_text(caption.title);
  return fmt::format(
      "<figure><figcaption>{}{}</figcaption>{}<svg class=\"chart{}\" viewBox=\"0 0 {} {}\" role=\"img\" "
      "aria-label=\"{}\"{}>{}</svg></figure>\n",
      title, caption.note.empty() ? "" : " <small>" + html_text(caption.note) + "</small>",
      caption.legend.empty() ? "" : "<div class=\"legend\">" + caption.legend + "</div>", small_ ? " small" : "",
      kLeft + width() + kRight, kTop + height() + kBottom, title, caption.attributes, content);
}

}  // namespace weir
