#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "tools/weir/report/charts.h"
#include "tools/weir/report/html.h"

namespace weir {
namespace {

constexpr std::size_t kShades = 10;

}  // namespace

// Cells of one shade are one path, so that a map of 64 x 64 stays small, unless each has its title.
std::string draw(const HeatMap& map) {
  const std::size_t n = map.names.size();
  std::array<std::string, kShades> shades;
  std::string titled;
  for (std::size_t i = 0; i < map.cells.size(); ++i) {
    const std::size_t row = i / n, column = i % n;
    const double place = map.highest > 0 ? map.cells[i] / map.highest : 0;
    const auto shade = static_cast<std::size_t>(std::clamp(place, 0.0, 1.0) * (kShades - 1) + 0.5);
    const std::string cell = fmt::format("M{} {}h1v1h-1z", column, row);
    if (map.titles)
      titled += fmt::format("<path class=\"h{}\" d=\"{}\"><title>{} with {}: {:.3f}</title></path>", shade, cell,
                            html_text(map.names[row]), html_text(map.names[column]), map.cells[i]);
    else if (shade > 0)
      shades[shade] += cell;
  }
  for (std::size_t shade = 1; shade < kShades; ++shade)
    if (!shades[shade].empty()) titled += fmt::format("<path class=\"h{}\" d=\"{}\"/>", shade, shades[shade]);
  return fmt::format(
      "<figure><figcaption>{}{}</figcaption><svg class=\"heat\" viewBox=\"0 0 {} {}\" role=\"img\" "
      "aria-label=\"{}\">{}</svg></figure>\n",
      html_text(map.title), map.note.empty() ? "" : " <small>" + html_text(map.note) + "</small>", n, n,
      html_text(map.title), titled);
}

}  // namespace weir
