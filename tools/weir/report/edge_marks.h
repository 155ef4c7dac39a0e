// Marks for what a line chart cannot show in its place: values beyond the range drawn, and what is no number.
#pragma once

#include <string>
#include <vector>

#include "tools/weir/report/frame.h"
#include "tools/weir/report/thinning.h"

namespace weir {

class EdgeMarks {
 public:
  EdgeMarks(const Frame& frame, const Axis& x, const Axis& y) : frame_(frame), x_(x), y_(y) {}

  // The marks of one line, as SVG; those of a line keep a distance.
  std::string of(const std::vector<Bucket>& buckets, std::size_t colour);

  // What the marks so far mean, for the legend; empty where there are none.
  std::string legend() const;

 private:
  const Frame& frame_;
  const Axis &x_, &y_;
  Range beyond_;  // of the values marked
  bool above_ = false, below_ = false, not_finite_ = false;
};

}  // namespace weir
