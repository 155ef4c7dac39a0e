#include "train/tokenizer/json/document.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/text.h"

namespace weir {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kMaxValues = std::size_t{1} << 23;
constexpr const char* kRemedy = "the file is damaged or not a tokenizer.json: fetch or export it again";

[[noreturn]] void refuse_file(const std::string& path, const std::string& why) {
  throw RunError(ExitCode::bad_data, fmt::format("{}: {}; {}", printable(path, 4096), why, kRemedy));
}

// Receives the text piece by piece and builds the values.
class Builder {
 public:
  explicit Builder(const std::string& path) : path_(path) {}

  JsonValue root;

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(std::int64_t value) { return put(value); }
  bool number_unsigned(std::uint64_t value) {
    if (value > static_cast<std::uint64_t>(INT64_MAX)) return put(static_cast<double>(value));
    return put(static_cast<std::int64_t>(value));
  }
  bool number_float(double value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool start_array(std::size_t) { return open(JsonList{}); }
  bool end_array() { return close(); }
  bool start_object(std::size_t) { return open(JsonObject{}); }
  bool key(std::string& name) {
    key_ = std::move(name);
    return true;
  }
  bool end_object() {
    check_keys(std::get<JsonObject>(open_.back()->data));
    return close();
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) {
    std::string why = error.what();
    if (const std::size_t at = why.find("syntax error"); at != std::string::npos) why.erase(0, at);
    refuse_file(path_, fmt::format("not valid JSON (byte offset {}): {}", std::max<std::size_t>(position, 1) - 1,
                                   printable(why)));
  }

 private:
  template <class T>
  bool put(T value) {
    slot().data = std::move(value);
    return true;
  }

  template <class T>
  bool open(T value) {
    if (open_.size() == kMaxDepth) refuse_file(path_, fmt::format("nested deeper than {} levels", kMaxDepth));
    JsonValue& place = slot();
    place.data = std::move(value);
    open_.push_back(&place);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  // Where the next value goes. What is open is the last element of what it stands in, so pointers stay good.
  JsonValue& slot() {
    if (++values_ > kMaxValues) refuse_file(path_, fmt::format("more than {} values", kMaxValues));
    if (open_.empty()) return root;
    if (auto* list = std::get_if<JsonList>(&open_.back()->data)) return list->emplace_back();
    return std::get<JsonObject>(open_.back()->data).emplace_back(std::move(key_), JsonValue{}).second;
  }

  void check_keys(const JsonObject& object) const {
    std::vector<std::string_view> keys;
    keys.reserve(object.size());
    for (const auto& [key, value] : object) keys.push_back(key);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end())
      refuse_file(path_, fmt::format("the key '{}' appears twice in one object", printable(*twice)));
  }

  const std::string& path_;
  std::vector<JsonValue*> open_;
  std::string key_;
  std::size_t values_ = 0;
};

const char* kind_of(const JsonValue& value) {
  constexpr std::array kKinds{"null", "a truth value", "a whole number", "a number", "a text", "a list", "an object"};
  return kKinds[value.data.index()];
}

template <class T>
const T& expect(const JsonPlace& place, const char* what) {
  if (const T* value = std::get_if<T>(&place.value().data)) return *value;
  place.refuse(fmt::format("expected {}, found {}", what, kind_of(place.value())));
}

}  // namespace

JsonValue parse_json(const std::string& path, std::string_view text) {
  if (text.size() > kMaxBytes) refuse_file(path, fmt::format("larger than {} bytes", kMaxBytes));
  // The parser would take a zero byte for the end and not look at what follows.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos)
    refuse_file(path, fmt::format("not valid JSON (byte offset {}): a zero byte", zero));
  Builder builder(path);
  nlohmann::json::sax_parse(text, &builder);
  return std::move(builder.root);
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
  refuse(fmt::format("'{}' is missing", key));
}

JsonPlace JsonPlace::at(std::size_t index) const {
  return JsonPlace(file_, list()[index], fmt::format("{}[{}]", place_, index));
}

const std::string& JsonPlace::text() const { return expect<std::string>(*this, "a text"); }
bool JsonPlace::boolean() const { return expect<bool>(*this, "true or false"); }
const JsonList& JsonPlace::list() const { return expect<JsonList>(*this, "a list"); }
const JsonObject& JsonPlace::object() const { return expect<JsonObject>(*this, "an object"); }

std::int64_t JsonPlace::integer(std::int64_t min, std::int64_t max) const {
  const std::int64_t value = expect<std::int64_t>(*this, "a whole number");
  if (value < min || value > max) refuse(fmt::format("{} is not between {} and {}", value, min, max));
  return value;
}

double JsonPlace::number() const {
  if (const auto* whole = std::get_if<std::int64_t>(&value_->data)) return static_cast<double>(*whole);
  const double value = expect<double>(*this, "a number");
  if (!std::isfinite(value)) refuse(fmt::format("{} is not a finite number", value));
  return value;
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
