// What of a line is drawn: its points or, of many, their means; and in which range.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tools/weir/report/charts.h"

namespace weir {

struct Range {
  double low = INFINITY, high = -INFINITY;
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

Range x_range(const LineChart& chart);
// Outliers aside; empty where no point can be drawn.
Range y_range(const LineChart& chart, const Range& x);

struct Bucket {
  double x = 0, mean = NAN;     // x of its last point; the mean is NaN where nothing can be drawn
  Range values{};               // of its finite points, also of those that a logarithmic axis does not have
  bool has_not_finite = false;  // one of its points is no number
};

// At most `most` of them, which divide the range of x evenly; or one per point.
std::vector<Bucket> thinned(const std::vector<Point>& points, std::size_t most, Scale scale, const Range& x);

}  // namespace weir
