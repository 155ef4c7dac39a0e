#include "core/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

namespace weir {
namespace {

// Length of the valid UTF-8 sequence of two to four bytes at the start of `text`, 0 if there is none.
std::size_t utf8_sequence(std::string_view text, std::uint32_t& code) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (length == 0 || lead > 0xf4 || text.size() < length) return 0;
  code = lead & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0u) != 0x80u) return 0;
    code = code << 6 | (next & 0x3fu);
  }
  const bool too_short = code < (length == 4 ? 0x10000u : length == 3 ? 0x800u : 0x80u);
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return too_short || surrogate || code > 0x10ffff ? 0 : length;
}

// Code points that act on the terminal or cannot be seen: C1 controls, zero-width, direction marks, tags.
bool is_hidden(std::uint32_t code) {
  return code < 0xa0 || (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2060 && code <= 0x206f) || code == 0xfeff || (code >= 0xe0000 && code <= 0xe0fff);
}

}  // namespace

int edit_distance(std::string_view a, std::string_view b) {
  const std::size_t columns = b.size() + 1;
  std::vector<int> table((a.size() + 1) * columns);  // [i, j]: from the first i letters of a to the first j of b
  const auto at = [&](std::size_t i, std::size_t j) -> int& { return table[i * columns + j]; };
  for (std::size_t i = 0; i <= a.size(); ++i) at(i, 0) = static_cast<int>(i);
  for (std::size_t j = 0; j <= b.size(); ++j) at(0, j) = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int replaced = at(i - 1, j - 1) + (a[i - 1] == b[j - 1] ? 0 : 1);
      at(i, j) = std::min({replaced, at(i - 1, j) + 1, at(i, j - 1) + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
    }
  }
  return at(a.size(), b.size());
}

std::string nearest_name(std::string_view name, std::span<const std::string> candidates) {
  if (name.size() > 200) return {};
  std::string best;
  int best_distance = 1 + std::max(1, static_cast<int>(name.size()) / 3);
  for (const std::string& candidate : candidates) {
    const int distance = edit_distance(name, candidate);
    if (distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

std::string did_you_mean(std::string_view name, std::span<const std::string> candidates) {
  const std::string best = nearest_name(name, candidates);
  return best.empty() ? "" : "; did you mean " + best + "?";
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (&part != parts.data()) text += separator;
    text += part;
  }
  return text;
}

bool is_utf8(std::string_view text) {
  std::uint32_t code = 0;
  while (!text.empty()) {
    const std::size_t used = static_cast<unsigned char>(text[0]) < 0x80 ? 1 : utf8_sequence(text, code);
    if (used == 0) return false;
    text.remove_prefix(used);
  }
  return true;
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= limit) return out + "...";
    const auto c = static_cast<unsigned char>(text[0]);
    std::uint32_t code = 0;
    std::size_t used = 1;
    if (c == '\n')
      out += "\\n";
    else if (c == '\\')
      out += "\\\\";
    else if (c >= 0x20 && c < 0x7f)
      out += static_cast<char>(c);
    else if (c < 0x80 || (used = utf8_sequence(text, code)) == 0)
      out += fmt::format("\\x{:02x}", c), used = 1;
    else if (is_hidden(code))
      out += fmt::format("\\u{{{:x}}}", code);
    else
      out += text.substr(0, used);
    text.remove_prefix(used);
  }
  return out;
}

namespace {

// printable(), but the characters of `kept` stay.
std::string printable_except(std::string_view text, std::string_view kept) {
  std::string out, plain;
  const auto flush = [&] {
    out += printable(plain, std::string::npos);
    plain.clear();
  };
  for (char c : text) {
    if (kept.find(c) != std::string_view::npos) {
      flush();
      out += c;
    } else {
      plain += c;
    }
  }
  flush();
  return out;
}

}  // namespace

std::string printable_text(std::string_view text) { return printable_except(text, "\n\t"); }

std::string one_line(std::string_view message) { return printable_except(message, "\\"); }

std::string quote(std::string_view text) {
  const std::string json = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string result;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const auto byte = static_cast<unsigned char>(json[i]);
    const auto next = static_cast<unsigned char>(i + 1 < json.size() ? json[i + 1] : 0);
    if (byte == 0x7f) {
      result += "\\u007f";
    } else if (byte == 0xc2 && next < 0xa0) {  // U+0080 to U+009f: terminals take some of them as commands
      result += next < 0x90 ? "\\u008" : "\\u009";
      result += "0123456789abcdef"[next & 15];
      ++i;
    } else {
      result += json[i];
    }
  }
  return result;
}

std::string quote_short(std::string_view text) {
  constexpr std::size_t longest = 60;
  if (text.size() <= longest) return quote(text);
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not inside a UTF-8 character
  return quote(text.substr(0, end)) + "...";
}

}  // namespace weir
