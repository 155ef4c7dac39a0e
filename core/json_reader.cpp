#include "core/json_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/text.h"

namespace weir {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kMaxValues = std::size_t{1} << 23;

// As the library calls them.
class Forwarder {
 public:
  explicit Forwarder(JsonEvents& events) : events_(events) {}

  std::optional<JsonFault> fault;

  bool null() { return events_.null(); }
  bool boolean(bool value) { return events_.boolean(value); }
  bool number_integer(std::int64_t value) { return events_.number_integer(value); }
  bool number_unsigned(std::uint64_t value) { return events_.number_unsigned(value); }
  bool number_float(double value, const std::string& digits) { return events_.number_float(value, digits); }
  bool string(std::string& value) { return events_.string(value); }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool key(std::string& name) { return events_.key(name); }
  bool start_object(std::size_t) { return events_.start_object(); }
  bool end_object() { return events_.end_object(); }
  bool start_array(std::size_t) { return events_.start_array(); }
  bool end_array() { return events_.end_array(); }

  // The message is "[NAME] parse error at line 1, column 2: syntax error while ...", or "[NAME] number overflow ...".
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) {
    std::string_view why = error.what();
    const std::size_t syntax = why.find("syntax error"), name = why.find("] ");
    if (syntax != std::string_view::npos)
      why.remove_prefix(syntax);
    else if (name != std::string_view::npos)
      why.remove_prefix(name + 2);
    fault = {std::max<std::size_t>(position, 1) - 1, printable(why)};
    return false;
  }

 private:
  JsonEvents& events_;
};

class Builder final : public JsonEvents {
 public:
  JsonValue root;
  std::string fault;

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(std::int64_t value) override { return put(value); }
  bool number_unsigned(std::uint64_t value) override {
    return value > static_cast<std::uint64_t>(INT64_MAX) ? put(value) : put(static_cast<std::int64_t>(value));
  }
  bool number_float(double value, const std::string&) override { return put(value); }
  bool string(std::string& value) override { return put(std::move(value)); }
  bool start_array() override { return open(JsonValue::List{}); }
  bool end_array() override { return close(); }
  bool start_object() override { return open(JsonValue::Object{}); }
  bool key(std::string& name) override {
    key_ = std::move(name);
    return true;
  }
  bool end_object() override { return has_no_key_twice(std::get<JsonValue::Object>(open_.back()->data)) && close(); }

 private:
  bool refuse(std::string why) {
    fault = std::move(why);
    return false;
  }

  template <class T>
  bool put(T value) {
    if (++values_ > kMaxValues) return refuse(fmt::format("more than {} values", kMaxValues));
    slot().data = std::move(value);
    return true;
  }

  template <class T>
  bool open(T value) {
    if (open_.size() == kMaxDepth) return refuse(fmt::format("nested deeper than {} levels", kMaxDepth));
    if (++values_ > kMaxValues) return refuse(fmt::format("more than {} values", kMaxValues));
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
    if (open_.empty()) return root;
    if (auto* list = std::get_if<JsonValue::List>(&open_.back()->data)) return list->emplace_back();
    return std::get<JsonValue::Object>(open_.back()->data).emplace_back(std::move(key_), JsonValue{}).second;
  }

  bool has_no_key_twice(const JsonValue::Object& object) {
    std::vector<std::string_view> keys;
    keys.reserve(object.size());
    for (const auto& [key, value] : object) keys.push_back(key);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    return twice == keys.end() || refuse(fmt::format("the key '{}' appears twice in one object", printable(*twice)));
  }

  std::vector<JsonValue*> open_;
  std::string key_;
  std::size_t values_ = 0;
};

}  // namespace

std::optional<JsonFault> read_json(std::string_view text, JsonEvents& events) {
  // The library would take a zero byte for the end and not look at what follows.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) return JsonFault{zero, "a zero byte"};
  Forwarder forwarder(events);
  nlohmann::json::sax_parse(text, &forwarder);
  return std::move(forwarder.fault);
}

const char* JsonValue::kind() const {
  constexpr std::array kKinds{"null",     "true or false", "a whole number", "a whole number",
                              "a number", "a text",        "a list",         "an object"};
  return kKinds[data.index()];
}

std::optional<double> JsonValue::number() const {
  if (const auto* number = std::get_if<double>(&data)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&data)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<std::uint64_t>(&data)) return static_cast<double>(*number);
  return std::nullopt;
}

ParsedJson parse_json(std::string_view text) {
  if (text.size() > kMaxBytes) return {{}, fmt::format("larger than {} bytes", kMaxBytes)};
  Builder builder;
  if (const auto fault = read_json(text, builder))
    return {{}, fmt::format("not valid JSON (byte offset {}): {}", fault->offset, fault->why)};
  return {std::move(builder.root), std::move(builder.fault)};
}

}  // namespace weir
