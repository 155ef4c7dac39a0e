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

// The only candidate that `name` is the beginning of, or else the one that it is most likely a misspelling of; empty
// where there is none.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

// "; did you mean dense?", or an empty string.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

// A size in decimal units: "1 byte", "731 bytes", "1.5 MB", "73 GB".
std::string byte_size(std::uint64_t bytes);

// "1 step", "2 steps".
template <class Count>
std::string counted(Count count, std::string_view one) {
  return std::to_string(count) + " " + std::string(one) + (count == 1 ? "" : "s");
}

std::string join(std::span<const std::string> parts, std::string_view separator);

// `text` in lines of at most `width` columns, where no word is longer; each starts with `indent` and ends with a line
// end.
std::string wrapped(std::string_view text, const std::string& indent, std::size_t width = 80);

bool is_utf8(std::string_view text);

// Untrusted text made fit for a one-line message: control characters, invisible or direction-changing code points and
// invalid UTF-8 appear as \n, \x1b, \u{202e}; what exceeds `limit` bytes is cut and marked "...".
std::string printable(std::string_view text, std::size_t limit = 200);

// The same for a text of several lines, at any length: line ends and tabs stay.
std::string printable_text(std::string_view text);

// A whole message, parts of which may be escaped already: the same for what is not, in one line, at any length.
std::string one_line(std::string_view message);

// A word as a shell takes it, for commands in messages: in quotes where it has to be, in $'...' where it holds what
// cannot be shown. One line, fit for a terminal.
std::string shell_word(std::string_view word);

// `text` in double quotes, as JSON and TOML both read it. Control characters are escaped, so it may go to a terminal;
// bytes that are not UTF-8 become U+FFFD.
std::string quote(std::string_view text);

// The same for messages: long texts are cut.
std::string quote_short(std::string_view text);

}  // namespace weir
