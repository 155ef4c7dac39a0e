// Small helpers for names and texts in messages and files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir {

// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b`.
int edit_distance(std::string_view a, std::string_view b);

// The candidate that `name` is most likely a misspelling of; empty where none is near.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

// "; did you mean dense?", or an empty string.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

std::string join(std::span<const std::string> parts, std::string_view separator);

bool is_utf8(std::string_view text);

// Untrusted text made fit for a one-line message: control characters, invisible or direction-changing code points and
// invalid UTF-8 appear as \n, \x1b, \u{202e}; what exceeds `limit` bytes is cut and marked "...".
std::string printable(std::string_view text, std::size_t limit = 200);

// The same for a text of several lines, at any length: line ends and tabs stay.
std::string printable_text(std::string_view text);

// A whole message, parts of which may be escaped already: the same for what is not, in one line, at any length.
std::string one_line(std::string_view message);

// `text` in double quotes, as JSON and TOML both read it. Control characters are escaped, so it may go to a terminal;
// bytes that are not UTF-8 become U+FFFD.
std::string quote(std::string_view text);

// The same for messages: long texts are cut.
std::string quote_short(std::string_view text);

}  // namespace weir
