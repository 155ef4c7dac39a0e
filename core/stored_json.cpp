#include "core/stored_json.h"

#include <fmt/format.h>

#include <limits>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"

namespace weir {
void refuse_stored(const std::string& path, const std::string& field, const std::string& why) {
  throw RunError(ExitCode::bad_data,
                 fmt::format("{}: {}{}", printable(path, 4096), field.empty() ? "" : printable(field) + ": ", why));
}

StoredJson::StoredJson(std::shared_ptr<const JsonValue> value, std::string path, std::string place, Refuse complain)
    : value_(std::move(value)), path_(std::move(path)), place_(std::move(place)), refuse_(complain) {}

std::optional<StoredJson> StoredJson::try_parse(const std::string& text, const std::string& path, Refuse complain) {
  ParsedJson parsed = parse_json(text);
  if (!parsed.fault.empty() || !std::holds_alternative<JsonValue::Object>(parsed.root.data)) return std::nullopt;
  return StoredJson(std::make_shared<const JsonValue>(std::move(parsed.root)), path, "", complain);
}

StoredJson StoredJson::parse(const std::string& text, const std::string& path, Refuse complain) {
  if (auto object = try_parse(text, path, complain)) return *object;
  complain(path, "", "this is not a whole JSON object");
  throw InternalError("the error of a stored file was not thrown");
}

StoredJson StoredJson::read(const std::string& path, std::uint64_t max_bytes, Refuse complain) {
  return parse(read_file(path, max_bytes, Empty::allowed), path, complain);
}

void StoredJson::refuse(const std::string& name, const std::string& why) const {
  refuse_(path_, field(name), why);
  throw InternalError("the error of a stored file was not thrown");
}

const JsonValue* StoredJson::find(const std::string& name) const {
  for (const auto& [key, value] : members())
    if (key == name) return &value;
  return nullptr;
}

const JsonValue& StoredJson::member(const std::string& name) const {
  if (const JsonValue* value = find(name)) return *value;
  refuse(name, "the field is missing");
}

template <class T>
const T& StoredJson::as(const JsonValue& value, const std::string& name, const char* expected) const {
  if (const T* right = std::get_if<T>(&value.data)) return *right;
  refuse(name, fmt::format("expected {}, found {}", expected, value.kind()));
}

double StoredJson::as_number(const JsonValue& value, const std::string& name, const char* expected) const {
  if (const auto number = value.number()) return *number;
  refuse(name, fmt::format("expected {}, found {}", expected, value.kind()));
}

StoredJson StoredJson::inner(const JsonValue& value, const std::string& name) const {
  as<JsonValue::Object>(value, name, "an object");
  return StoredJson(std::shared_ptr<const JsonValue>(value_, &value), path_, field(name), refuse_);
}

bool StoredJson::has(const std::string& name) const { return find(name) != nullptr; }

std::string StoredJson::text(const std::string& name) const { return as<std::string>(member(name), name, "a text"); }

bool StoredJson::flag(const std::string& name) const { return as<bool>(member(name), name, "true or false"); }

double StoredJson::number(const std::string& name) const { return as_number(member(name), name, "a number"); }

std::optional<std::int64_t> StoredJson::try_count(const std::string& name, std::int64_t least,
                                                  std::int64_t most) const {
  const JsonValue* value = find(name);
  const auto* number = value == nullptr ? nullptr : std::get_if<std::int64_t>(&value->data);
  return number != nullptr && *number >= least && *number <= most ? std::optional(*number) : std::nullopt;
}

std::int64_t StoredJson::count(const std::string& name, std::int64_t least, std::int64_t most) const {
  if (const auto number = try_count(name, least, most)) return *number;
  const JsonValue& value = member(name);
  const auto* large = std::get_if<std::uint64_t>(&value.data);
  const std::string found =
      large != nullptr ? std::to_string(*large) : std::to_string(as<std::int64_t>(value, name, "a whole number"));
  refuse(name, fmt::format("it is {}, expected {} to {}", found, least, most));
}

StoredJson StoredJson::object(const std::string& name) const { return inner(member(name), name); }

std::vector<double> StoredJson::number_list(const std::string& name, std::size_t most) const {
  const auto& items = as<JsonValue::List>(member(name), name, "a list");
  if (items.size() > most) refuse(name, fmt::format("expected up to {} numbers, found {}", most, items.size()));
  std::vector<double> numbers;
  for (const JsonValue& item : items) numbers.push_back(as_number(item, name, "numbers"));
  return numbers;
}

std::vector<StoredJson> StoredJson::list(const std::string& name) const {
  std::vector<StoredJson> objects;
  for (const JsonValue& item : as<JsonValue::List>(member(name), name, "a list"))
    objects.push_back(inner(item, fmt::format("{}[{}]", name, objects.size())));
  return objects;
}

std::vector<std::string> StoredJson::names() const {
  std::vector<std::string> all;
  for (const auto& [name, value] : members()) all.push_back(name);
  return all;
}

std::vector<std::pair<std::string, StoredJson>> StoredJson::objects() const {
  std::vector<std::pair<std::string, StoredJson>> all;
  for (const auto& [name, value] : members()) all.emplace_back(name, inner(value, name));
  return all;
}

std::vector<std::pair<std::string, std::string>> StoredJson::texts() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& [name, value] : members()) all.emplace_back(name, as<std::string>(value, name, "a text"));
  return all;
}

std::vector<std::pair<std::string, double>> StoredJson::numbers() const {
  std::vector<std::pair<std::string, double>> all;
  for (const auto& [name, value] : members())
    if (const auto number = value.number())
      all.emplace_back(name, *number);
    else if (std::holds_alternative<std::nullptr_t>(value.data))
      all.emplace_back(name, std::numeric_limits<double>::quiet_NaN());
  return all;
}

}  // namespace weir
