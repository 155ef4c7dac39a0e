// Tables for a terminal and for Markdown pages.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace weir {

enum class TableFormat { text, markdown, json };

using TableRow = std::vector<std::string>;

// Rows of equally many cells; the first row is the heading. The first columns are set left, the others right.
std::string text_table(const std::vector<TableRow>& rows);
std::string markdown_table(const std::vector<TableRow>& rows, std::size_t left_columns = 1);

}  // namespace weir
