// The values of a tokenizer.json, where every complaint names the place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/json_reader.h"

namespace weir {

// `path` is for messages.
JsonValue parse_document(const std::string& path, std::string_view text);

// A value and where it stands: "model.merges[3]". The document must outlive it.
class JsonPlace {
 public:
  JsonPlace(std::string file, const JsonValue& value, std::string place = "")
      : file_(std::move(file)), place_(std::move(place)), value_(&value) {}

  const JsonValue& value() const { return *value_; }
  std::string where() const;  // file and place, printable

  // A member; absent and null are the same.
  std::optional<JsonPlace> find(std::string_view key) const;
  JsonPlace at(std::string_view key) const;
  JsonPlace at(std::size_t index) const;

  const std::string& text() const;
  const std::string& character() const;  // a text of one character
  bool boolean() const;
  std::int64_t integer(std::int64_t min, std::int64_t max) const;
  double number() const;
  const JsonValue::List& list() const;
  const JsonValue::Object& object() const;

  // Members with a default, where they are absent.
  std::string text_or(std::string_view key, std::string_view otherwise) const;
  bool boolean_or(std::string_view key, bool otherwise) const;

  [[noreturn]] void refuse(std::string_view why) const;
  [[noreturn]] void unsupported(std::string_view component, std::string_view supported) const;

 private:
  std::string file_, place_;
  const JsonValue* value_;
};

}  // namespace weir
