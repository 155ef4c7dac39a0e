// Tables for a terminal and for Markdown pages.
#pragma once

#include <string>
#include <vector>

namespace weir {

using TableRow = std::vector<std::string>;

// Rows of equally many cells; the first row is the heading. The first column is set left, the others right.
std::string text_table(const std::vector<TableRow>& rows);
std::string markdown_table(const std::vector<TableRow>& rows);

}  // namespace weir
