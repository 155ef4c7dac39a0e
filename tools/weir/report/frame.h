// What line and bar charts share: the box of the plot, the grid, the scale below, the figure around it.
#pragma once

#include <string>
#include <vector>

#include "tools/weir/report/axis.h"

namespace weir {

class Frame {
 public:
  explicit Frame(bool small) : small_(small) {}

  static constexpr double kInset = 4;  // between the box and the first and last point, so that marks stay whole
  double width() const { return small_ ? 220 : 476; }  // of the plot, in picture units
  double height() const { return small_ ? 136 : 226; }

  std::string grid(const std::vector<Axis::Tick>& ticks) const;
  std::string scale_below(const std::vector<Axis::Tick>& ticks) const;
  std::string label_below(const std::string& label) const;
  std::string plot(const std::string& content) const;  // clipped to the box

  struct Caption {
    std::string title, note{};
    std::string legend{};      // HTML
    std::string attributes{};  // of the picture, each with a space before it
  };
  std::string figure(const Caption& caption, const std::string& content) const;

 private:
  bool small_;
};

}  // namespace weir
