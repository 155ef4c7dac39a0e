// Untrusted text in an HTML page: run names, settings, prompts, what a model wrote.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// One line of text, for element content and for attributes in double quotes. Control and direction-changing characters
// appear as \x1b and the like; what exceeds `limit` bytes is cut and marked "...".
std::string html_text(std::string_view text, std::size_t limit = 200);

// Several lines, for <pre>, which already went through printable_text().
std::string html_lines(std::string_view text);

}  // namespace weir
