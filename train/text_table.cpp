#include "train/text_table.h"

#include <algorithm>

namespace weir {
namespace {

// Code points of UTF-8 text: the bytes that do not continue one.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

std::string text_table(const std::vector<TableRow>& rows) {
  std::vector<std::size_t> widths;
  for (const TableRow& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width(row[c]));
  }
  std::string text;
  for (const TableRow& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string gap(widths[c] - width(row[c]), ' ');
      line += c == 0 ? row[c] + gap : "  " + gap + row[c];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string markdown_table(const std::vector<TableRow>& rows, std::size_t left_columns) {
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (const std::string& cell : rows[r]) {
      text += "| ";
      for (char c : cell) text += c == '|' ? std::string("\\|") : std::string(1, c);
      text += ' ';
    }
    text += "|\n";
    if (r != 0) continue;
    for (std::size_t c = 0; c < rows[r].size(); ++c) text += c < left_columns ? "|---" : "|---:";
    text += "|\n";
  }
  return text;
}

}  // namespace weir
