// Reads JSON, as the pieces of a text in their order or as a tree of values. The only place that parses it; what is
// written comes from core/json_writer.h. Memory may be refused at any point: nothing here asks for some where it must
// not fail, as the trees of the library that parses do when they are freed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace weir {

// Receives the pieces. A function that returns false ends the reading.
class JsonEvents {
 public:
  virtual bool null() = 0;
  virtual bool boolean(bool value) = 0;
  virtual bool number_integer(std::int64_t value) = 0;    // below zero, or -0
  virtual bool number_unsigned(std::uint64_t value) = 0;  // without point and exponent, below 2^64
  virtual bool number_float(double value, const std::string& digits) = 0;
  virtual bool string(std::string& value) = 0;  // may be moved from, as the next
  virtual bool key(std::string& name) = 0;
  virtual bool start_object() = 0;
  virtual bool end_object() = 0;
  virtual bool start_array() = 0;
  virtual bool end_array() = 0;

 protected:
  ~JsonEvents() = default;
};

struct JsonFault {
  std::size_t offset;  // of the byte that is wrong
  std::string why;     // printable
};

// Nothing where the text is one value from end to end, or where `events` ended the reading.
std::optional<JsonFault> read_json(std::string_view text, JsonEvents& events);

struct JsonValue {
  using List = std::vector<JsonValue>;
  using Object = std::vector<std::pair<std::string, JsonValue>>;  // in the order of the text, no name twice

  // Whole numbers are unsigned where they are larger than a signed one can be.
  std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, List, Object> data = nullptr;

  const char* kind() const;              // "a whole number", "a text", ...
  std::optional<double> number() const;  // of any of the three kinds
};

struct ParsedJson {
  JsonValue root;
  std::string fault;  // why the text is not taken; empty where it is
};

// At most 64 MiB, 32 levels and 2^23 values.
ParsedJson parse_json(std::string_view text);

}  // namespace weir
