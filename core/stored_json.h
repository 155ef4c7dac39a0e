// JSON that Weir stored and that others may have changed: every value is asked for by name, type and limits, and what
// is wrong is refused with the file and the field.
//
//   const StoredJson state = StoredJson::read(path, 1 << 20, refuse);
//   const std::int64_t step = state.count("step");
//   for (const auto& [name, entry] : manifest.objects()) entry.text("xxh3_128");
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/json_reader.h"

namespace weir {

// "PATH: FIELD: why" as a RunError(bad_data), where there is nothing to advise.
[[noreturn]] void refuse_stored(const std::string& path, const std::string& field, const std::string& why);

class StoredJson {
 public:
  static constexpr std::int64_t kLargestCount = std::int64_t{1} << 53;  // what every JSON reader keeps exactly

  // Throws the error of a file that is not as Weir stored it. `field` is "splits.train.tokens", empty for all of the
  // file.
  using Refuse = void (*)(const std::string& path, const std::string& field, const std::string& why);

  // A file that holds one object.
  static StoredJson read(const std::string& path, std::uint64_t max_bytes, Refuse complain);
  static StoredJson parse(const std::string& text, const std::string& path, Refuse complain);
  // Nothing where the text is no whole object, as that of a file or line that a crash cut off.
  static std::optional<StoredJson> try_parse(const std::string& text, const std::string& path = "",
                                             Refuse complain = refuse_stored);

  bool has(const std::string& name) const;
  std::string text(const std::string& name) const;
  bool flag(const std::string& name) const;
  double number(const std::string& name) const;
  std::int64_t count(const std::string& name, std::int64_t least = 0, std::int64_t most = kLargestCount) const;
  std::optional<std::int64_t> try_count(const std::string& name, std::int64_t least = 0,
                                        std::int64_t most = kLargestCount) const;    // nothing where count() throws
  std::vector<double> number_list(const std::string& name, std::size_t most) const;  // of up to so many
  StoredJson object(const std::string& name) const;
  std::vector<StoredJson> list(const std::string& name) const;      // of objects
  std::vector<std::string> names() const;                           // of all members
  std::vector<std::pair<std::string, StoredJson>> objects() const;  // all members, which must be objects
  std::vector<std::pair<std::string, std::string>> texts() const;   // all members, which must be texts
  std::vector<std::pair<std::string, double>> numbers() const;      // those that are numbers, or null: NaN

  // The error for a value that has the right type and is wrong all the same.
  [[noreturn]] void refuse(const std::string& name, const std::string& why) const;

 private:
  StoredJson(std::shared_ptr<const JsonValue> value, std::string path, std::string place, Refuse complain);
  const JsonValue::Object& members() const { return std::get<JsonValue::Object>(value_->data); }
  const JsonValue* find(const std::string& name) const;  // nothing where it is absent
  const JsonValue& member(const std::string& name) const;
  // `value` as a T, which `expected` describes.
  template <class T>
  const T& as(const JsonValue& value, const std::string& name, const char* expected) const;
  double as_number(const JsonValue& value, const std::string& name, const char* expected) const;
  // As the object that it must be.
  StoredJson inner(const JsonValue& value, const std::string& name) const;
  std::string field(const std::string& name) const { return place_.empty() ? name : place_ + "." + name; }

  std::shared_ptr<const JsonValue> value_;  // an object
  std::string path_, place_;                // the file, and where in it: "splits.train", empty at the top
  Refuse refuse_;
};

}  // namespace weir
