#include "core/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
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

// How many bytes at the start of `text` one U+FFFD stands for where no character begins: those that could have begun
// one, or a single byte.
std::size_t broken_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned lead = byte(0);
  if (lead < 0xc2 || lead > 0xf4) return 1;
  const unsigned lowest = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned highest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < lowest || byte(1) > highest) return 1;
  return lead >= 0xf0 && (byte(2) & 0xc0u) == 0x80u ? 3 : 2;
}

// In a JSON text.
std::string escaped(std::uint32_t code) {
  switch (code) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return fmt::format("\\u{:04x}", code);
  }
}

// "--temperature" for "--temp", which is too short to be a misspelling; empty where several begin so.
std::string only_beginning_with(std::string_view name, std::span<const std::string> candidates) {
  constexpr std::size_t telling = 3;  // letters
  std::string found;
  for (const std::string& candidate : candidates) {
    if (name.size() < telling || !candidate.starts_with(name) || candidate == found) continue;
    if (!found.empty()) return {};
    found = candidate;
  }
  return found;
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
  if (const std::string whole = only_beginning_with(name, candidates); !whole.empty()) return whole;
  std::string best;
  int best_distance = 1 + std::max(1, static_cast<int>(name.size()) / 3);
  for (const std::string& candidate : candidates) {
    const auto longer = static_cast<int>(candidate.size()) - static_cast<int>(name.size());
    if (std::abs(longer) >= best_distance) continue;  // letters to insert or to erase
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

std::string byte_size(std::uint64_t bytes) {
  if (bytes < 1000) return counted(bytes, "byte");
  static constexpr const char* units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  double size = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  for (; size >= 999.5; ++unit) size /= 1000;  // 999.5 would print as 1000
  return fmt::format("{:.{}f} {}", size, size < 9.95 ? 1 : 0, units[unit]);
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (&part != parts.data()) text += separator;
    text += part;
  }
  return text;
}

std::string wrapped(std::string_view text, const std::string& indent, std::size_t width) {
  std::string result;
  std::string line = indent;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    if (line.size() > indent.size() && line.size() + 1 + word.size() > width) {
      result += line + "\n";
      line = indent;
    }
    if (line.size() > indent.size()) line += ' ';
    line += word;
    begin = end + 1;
  }
  return result + line + "\n";
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

std::string shell_word(std::string_view word) {
  const auto is_plain = [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 ||
                        std::string_view("_./-,:=@%+").find(static_cast<char>(c)) != std::string_view::npos);
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), is_plain)) return std::string(word);
  const bool shown = one_line(word) == word;
  std::string quoted = shown ? "'" : "$'";
  for (std::size_t used; !word.empty(); word.remove_prefix(used)) {
    std::uint32_t code = 0;
    used = std::max<std::size_t>(1, utf8_sequence(word, code));
    const std::string_view character = word.substr(0, used);
    if (shown)
      quoted += character == "'" ? "'\\''" : character;
    else if (character == "'" || character == "\\")
      quoted += "\\" + std::string(character);
    else if (one_line(character) == character)
      quoted += character;
    else
      for (const char c : character) quoted += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
  }
  return quoted + "'";
}

std::string quote(std::string_view text) {
  std::string result = "\"";
  while (!text.empty()) {
    std::uint32_t code = static_cast<unsigned char>(text[0]);
    const std::size_t used = code < 0x80 ? 1 : utf8_sequence(text, code);
    if (used == 0)
      result += "\ufffd";
    else if (code < 0x20 || code == '"' || code == '\\' || (code >= 0x7f && code < 0xa0))
      result += escaped(code);  // of those after 0x7e, terminals take some as commands
    else
      result += text.substr(0, used);
    text.remove_prefix(used > 0 ? used : broken_sequence(text));
  }
  return result + '"';
}

std::string quote_short(std::string_view text) {
  constexpr std::size_t longest = 60;
  if (text.size() <= longest) return quote(text);
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not inside a UTF-8 character
  return quote(text.substr(0, end)) + "...";
}

}  // namespace weir
