// The pictures of a report as SVG elements: lines, bars, squares. Colours and fonts are classes of the page's style.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/weir/report/axis.h"

namespace weir {

struct Point {
  double x, y;  // a y that is not finite is a gap
};

struct Line {
  std::string label;    // under the mouse
  std::string curve;    // in the legend: what lines of this style are
  std::size_t run = 0;  // its number, which chooses the clock of the script
  std::size_t colour = 0;
  enum class Style { plain, faint, marked, dashed } style = Style::plain;
  std::vector<Point> points{};  // x ascending
};

struct LineChart {
  std::string title, note{};  // the note stands behind the title
  std::string x_label{};
  double x_low = 0, x_high = 0;    // the range of x where x_high > x_low; else from the data
  bool switched = false;           // the page's switch changes its x
  Scale scale = Scale::linear;     // of y
  Numbers numbers = Numbers::any;  // of y
  std::vector<Line> lines{};
  bool small = false;  // neither legend nor marks
  // The first 5 % of x do not count for the range of y where 10 points are left: a loss falls from a height that would
  // flatten the rest.
  bool cut_start = false;
  bool from_zero = false;        // y starts at 0
  double y_low = 0, y_high = 0;  // the range of y where y_high > y_low; else from the data
};

// A <figure>, or nothing where no line has a point. Of many points the mean per bucket of x is drawn, within a band
// from the lowest to the highest: the size of a page does not grow with the length of a run. What lies outside the
// range of y has a mark at the edge, and what is not finite a cross.
std::string draw(const LineChart& chart);

// A short piece of a line, for a legend within text.
std::string line_sample(Line::Style style, const std::string& colour_class);

struct Bar {
  double mean, deviation;
  std::string title;  // what appears under the mouse
};

struct BarChart {
  std::string title, note, x_label;
  std::vector<std::string> groups;     // names under the bars
  std::vector<std::vector<Bar>> bars;  // [groups][runs]
};
std::string draw(const BarChart& chart);

// A matrix with entries from 0 to `highest`.
struct HeatMap {
  std::string title, note;
  std::vector<std::string> names;  // of rows and columns
  std::vector<double> cells;       // row by row
  double highest = 1;
  bool titles = true;  // each cell tells its value under the mouse
};
std::string draw(const HeatMap& map);

}  // namespace weir
