#include "train/tokenizer/json/document.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace weir {
namespace {

constexpr const char* kRemedy = "the file is damaged or not a tokenizer.json: fetch or export it again";

template <class T>
const T& expect(const JsonPlace& place, const char* what) {
  if (const T* value = std::get_if<T>(&place.value().data)) return *value;
  place.refuse(fmt::format("expected {}, found {}", what, place.value().kind()));
}

}  // namespace

JsonValue parse_document(const std::string& path, std::string_view text) {
  ParsedJson parsed = parse_json(text);
  if (!parsed.fault.empty())
    throw RunError(ExitCode::bad_data, fmt::format("{}: {}; {}", printable(path, 4096), parsed.fault, kRemedy));
  return std::move(parsed.root);
}

std::string JsonPlace::where() const {
  const std::string file = printable(file_, 4096);
  return place_.empty() ? file : file + ": " + printable(place_, 400);
}

std::optional<JsonPlace> JsonPlace::find(std::string_view key) const {
  for (const auto& [name, value] : object())
    if (name == key && !std::holds_alternative<std::nullptr_t>(value.data))
      return JsonPlace(file_, value, place_.empty() ? name : place_ + "." + name);
  return std::nullopt;
}

JsonPlace JsonPlace::at(std::string_view key) const {
  if (auto found = find(key)) return *found;
  if (place_.empty()) refuse(fmt::format("'{}' is missing", key));
  throw RunError(ExitCode::bad_data,
                 fmt::format("{}: '{}' is missing, which a tokenizer.json has here; add it, or export the file again",
                             where(), key));
}

JsonPlace JsonPlace::at(std::size_t index) const {
  return JsonPlace(file_, list()[index], fmt::format("{}[{}]", place_, index));
}

const std::string& JsonPlace::text() const { return expect<std::string>(*this, "a text"); }

const std::string& JsonPlace::character() const {
  const auto begins = [](char byte) { return (byte & 0xc0) != 0x80; };
  if (std::count_if(text().begin(), text().end(), begins) != 1) refuse("expected one character");
  return text();
}

bool JsonPlace::boolean() const { return expect<bool>(*this, "true or false"); }
const JsonValue::List& JsonPlace::list() const { return expect<JsonValue::List>(*this, "a list"); }
const JsonValue::Object& JsonPlace::object() const { return expect<JsonValue::Object>(*this, "an object"); }

std::int64_t JsonPlace::integer(std::int64_t min, std::int64_t max) const {
  const auto outside = [&](auto value) { refuse(fmt::format("{} is not between {} and {}", value, min, max)); };
  if (const auto* large = std::get_if<std::uint64_t>(&value_->data)) outside(*large);
  const std::int64_t value = expect<std::int64_t>(*this, "a whole number");
  if (value < min || value > max) outside(value);
  return value;
}

double JsonPlace::number() const {
  if (const auto value = value_->number()) return *value;
  return expect<double>(*this, "a number");
}

std::string JsonPlace::text_or(std::string_view key, std::string_view otherwise) const {
  const auto found = find(key);
  return found ? found->text() : std::string(otherwise);
}

bool JsonPlace::boolean_or(std::string_view key, bool otherwise) const {
  const auto found = find(key);
  return found ? found->boolean() : otherwise;
}

void JsonPlace::refuse(std::string_view why) const {
  throw RunError(ExitCode::bad_data, fmt::format("{}: {}; {}", where(), why, kRemedy));
}

void JsonPlace::unsupported(std::string_view component, std::string_view supported) const {
  throw RunError(ExitCode::bad_data, fmt::format("{}: unsupported component '{}'; supported here: {}", where(),
                                                 printable(component, 40), supported));
}

}  // namespace weir
