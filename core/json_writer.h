// JSON to be printed: values that turn into text. core/json_reader.h reads it.
//
//   JsonObject object{{"name", name}, {"steps", steps}, {"shape", std::vector{2, 3}}};
//   if (best) object["best"] = *best;
//   std::string line = Json(object).text();
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

class Json;
using JsonObject = std::map<std::string, Json>;  // printed in the order of its keys
using JsonList = std::vector<Json>;

// One value, as the text that stands for it. Numbers are the shortest that read back as the same bits, and null where
// they are not finite; texts are quoted as by quote() in core/text.h.
class Json {
 public:
  Json(std::nullptr_t = nullptr) : text_("null") {}
  Json(std::same_as<bool> auto flag) : text_(flag ? "true" : "false") {}
  template <std::integral Integer>
  requires(!std::same_as<Integer, bool>) Json(Integer number) : text_(std::to_string(number)) {}
  Json(double number);
  Json(std::string_view text);
  Json(const std::string& text) : Json(std::string_view(text)) {}
  Json(const char* text) : Json(std::string_view(text)) {}
  Json(const JsonObject& object);
  Json(const JsonList& list);
  template <class Value>
  Json(const std::vector<Value>& list) : Json(JsonList(list.begin(), list.end())) {}

  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// For people to read: each member and element on its own line, behind a space for each level.
std::string indented(const Json& value);

}  // namespace weir
