// One description of a configuration struct, many uses.
//
// A struct lists its fields once:
//
//   struct ModelConfig {
//     std::int64_t d_model = 128;
//     void visit(FieldVisitor& v) { v.field("d_model", d_model, {.min = 1, .max = 65536}, "width of the stream"); }
//   };
//
// and a struct of such structs names its sections. fields_of(object) gathers the list; reading TOML, overrides from
// the command line, the resolved TOML file, the help and the documentation all walk it.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace weir {

struct IntegerLimits {
  std::int64_t min = std::numeric_limits<std::int64_t>::min();
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
};

// Both ends can be inside (min, max) or outside (above, below) of what is allowed. Infinities and NaN never are.
struct NumberLimits {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  double above = -std::numeric_limits<double>::infinity();
  double below = std::numeric_limits<double>::infinity();
};

using Choices = std::vector<std::string>;

struct Field {
  std::string section;  // empty at the top level
  std::string name;
  std::string help;
  std::variant<std::int64_t*, double*, bool*, std::string*> value;  // points into the struct
  std::variant<std::monostate, IntegerLimits, NumberLimits, Choices> limits;

  std::string key() const { return section.empty() ? name : section + "." + name; }
};

struct Section {
  std::string name;
  std::string help;
  bool in_use = true;  // false: its fields have no effect in this configuration
};

// Where a value was given.
struct Origin {
  std::string file;   // empty: on the command line
  std::string place;  // "my.toml:2:5", "command line"
};
using Origins = std::map<std::string, Origin>;  // by key

// Words by which people know a field or a section from elsewhere: {"optimizer.lr", "learning_rate max_lr"}. They are
// not accepted in its place; the message that refuses them says what it is called here. A word may stand for several.
// A name with blanks is what to use instead, where something is a setting elsewhere and none here.
struct Synonyms {
  std::string_view name;   // "section.key", a section, or what to use instead
  std::string_view words;  // lower case, with underscores; separated by blanks

  bool contain(std::string_view word) const;
};

struct FieldList {
  std::vector<Section> sections;
  std::vector<Field> fields;             // top level first, then section by section
  std::span<const Synonyms> synonyms{};  // of fields and sections
  Origins* origins = nullptr;            // where set: each value that a file or an argument gives is noted there

  bool uses(const Field& field) const;  // false where it has no effect
  FieldList in_use() const;             // without those
};

class FieldVisitor {
 public:
  void field(const char* name, std::int64_t& value, IntegerLimits limits, const char* help);
  void field(const char* name, double& value, NumberLimits limits, const char* help);
  void field(const char* name, bool& value, const char* help);
  void field(const char* name, std::string& value, const char* help);
  void field(const char* name, std::string& value, Choices choices, const char* help);

  template <class Struct>
  void section(const char* name, Struct& object, const char* help, bool in_use = true) {
    list_.sections.push_back({name, help, in_use});
    section_ = name;
    object.visit(*this);
    section_.clear();
  }

  // The table lives as long as the program.
  void synonyms(std::span<const Synonyms> table) { list_.synonyms = table; }

  FieldList take() { return std::move(list_); }

 private:
  FieldList list_;
  std::string section_;
};

// The fields of `object`, valid for as long as it stays where it is.
template <class Struct>
FieldList fields_of(Struct& object) {
  FieldVisitor visitor;
  object.visit(visitor);
  return visitor.take();
}

// What a file or an argument gives for a field.
using FieldInput = std::variant<std::int64_t, double, bool, std::string>;

// Sets one field. A whole float (1e3) serves as an integer and an integer as a float; anything else that does not fit
// the field's type and limits is an ArgumentError that starts with `where`.
void set_field(const Field& field, const FieldInput& input, const std::string& where);

// Sets one field from "section.key=value". Text needs no quotes; in double quotes it may hold TOML's escapes.
void apply_override(const FieldList& list, const std::string& argument);

// Sets a number, a truth value or a text to what the command line gives for it.
void set_field_from_text(const Field& field, const std::string& text, const std::string& where);

// The field called `key`, or an ArgumentError that starts with `where` and suggests what was meant: the name in another
// section, what a synonym stands for, or the nearest spelling.
const Field& find_field(const FieldList& list, const std::string& key, const std::string& where);

// For whoever gives a setting as an option, "--learning-rate 3e-4": "settings are written KEY=VALUE, without dashes:
// optimizer.lr=3e-4". Empty where no setting is called so; `value` may be empty.
std::string option_hint(const FieldList& list, const std::string& option, const std::string& value);

// "; did you mean train?" for a section that is not there, or an empty string.
std::string section_hint(const FieldList& list, std::string_view name);

// A list of tables that a file may hold beside the fields, each written [[name]]. For each table in turn `next` gives
// the fields that it may set.
struct TableList {
  std::string name;
  std::function<FieldList()> next;
};

// Whether a text, the content of `file_name`, is TOML with [[name]] tables. Errors are those of read_toml().
bool has_tables(std::string_view text, const std::string& file_name, const std::string& name);

// Sets the fields that `text`, the content of `file_name`, mentions. A key `preset` at the top level calls `preset`
// with its value before any field is set; lists of tables are read last. Errors name file, line and column.
void read_toml(const FieldList& list, std::string_view text, const std::string& file_name,
               const std::function<void(const std::string&)>& preset = {}, const TableList& tables = {});

// The text that a TOML string in double quotes stands for, or an ArgumentError that starts with `where`.
std::string unquote(const std::string& text, const std::string& where);

// Of the sections in use:
std::string write_toml(const FieldList& list);  // every field, its help as a comment
std::string write_json(const FieldList& list);  // one object, one nested object per section
// Of all sections:
std::string write_help(const FieldList& list);      // for a terminal of 80 columns
std::string write_markdown(const FieldList& list);  // a table per section

std::string type_text(const Field& field);    // "integer", "number", "true or false", "text", "choice"
std::string limits_text(const Field& field);  // "1 to 65536", "dense, moe"; empty where anything goes
std::string value_text(const Field& field);   // the present value as TOML writes it
bool has_allowed_value(const Field& field);   // the present value is within the limits
// Throws ArgumentError naming the first value outside its limits: "model.precision = \"fp16\": give one of ...". For
// structs that a program filled in itself.
void check_values(const std::string& section, const FieldList& list);

}  // namespace weir
