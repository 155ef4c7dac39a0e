#include "core/json_writer.h"

#include <fmt/format.h>

#include <cmath>

#include "core/text.h"

namespace weir {

Json::Json(double number) : text_(std::isfinite(number) ? fmt::format("{}", number) : "null") {
  if (std::isfinite(number) && text_.find_first_of(".e") == std::string::npos) text_ += ".0";  // not an integer's text
}

Json::Json(std::string_view text) : text_(quote(text)) {}

Json::Json(const JsonObject& object) : text_("{") {
  for (const auto& [key, value] : object) {
    if (text_.size() > 1) text_ += ',';
    text_ += quote(key) + ":" + value.text();
  }
  text_ += '}';
}

Json::Json(const JsonList& list) : text_("[") {
  for (const Json& value : list) {
    if (text_.size() > 1) text_ += ',';
    text_ += value.text();
  }
  text_ += ']';
}

std::string indented(const Json& value) {
  const std::string& text = value.text();
  std::string lines;
  std::size_t level = 0;
  const auto begin_line = [&] { lines += "\n" + std::string(level, ' '); };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool opens = c == '{' || c == '[', closes = c == '}' || c == ']';
    if (closes) --level;
    if (closes && lines.back() != '{' && lines.back() != '[') begin_line();
    lines += c;
    if (opens) ++level;
    if (c == ',' || (opens && text[i + 1] != '}' && text[i + 1] != ']')) begin_line();
    if (c == ':') lines += ' ';
    if (c != '"') continue;
    const std::size_t begin = i + 1;
    while (text[++i] != '"') i += text[i] == '\\';
    lines.append(text, begin, i + 1 - begin);
  }
  return lines;
}

}  // namespace weir
