// Small helpers for names and texts in messages and files.
#pragma once

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

// `text` in double quotes, as JSON and TOML both read it. Control characters are escaped, so it may go to a terminal;
// bytes that are not UTF-8 become U+FFFD.
std::string quote(std::string_view text);

// The same for messages: long texts are cut.
std::string quote_short(std::string_view text);

}  // namespace weir
