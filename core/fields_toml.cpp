// Reading TOML: the one file that includes toml++.
#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>

#include "core/error.h"
#include "core/fields.h"
#include "core/text.h"

namespace weir {
namespace {

std::string place(const std::string& file_name, const toml::source_region& region) {
  return fmt::format("{}:{}:{}", file_name, region.begin.line, region.begin.column);
}

// What helps against a mistake, as the parser describes it.
const char* advice(std::string_view text, std::string_view description) {
  const auto says = [&](std::string_view words) { return description.find(words) != std::string_view::npos; };
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff"))
    return "the file is UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)";
  if (says("cannot redefine")) return "it is there twice: leave one of them out";
  if (says("table header")) return "a section begins with its name in brackets, as in [train], on a line of its own";
  if (says("parsing array")) return "a list ends with ]";
  if (says("utf-8") || says("UTF-8")) return "save the file as UTF-8";
  return "write key = value with text in double quotes";
}

// A dotted key nests a table per dot, and the parser's recursion follows without a limit: this one keeps the stack
// whole.
void check_depth(std::string_view text, const std::string& file_name) {
  constexpr auto most_dots = 4096;
  if (std::count(text.begin(), text.end(), '.') <= most_dots) return;
  throw ArgumentError(
      fmt::format("{}: more than {} dots, so not a configuration; keep long texts out of it", file_name, most_dots));
}

toml::table parse(std::string_view text, const std::string& file_name) {
  check_depth(text, file_name);
  try {
    return toml::parse(text, file_name);
  } catch (const toml::parse_error& error) {
    // The parser's messages can quote the file; they go to a terminal on one line.
    throw ArgumentError(fmt::format("{}: not valid TOML: {}; {}", place(file_name, error.source()),
                                    one_line(error.description()), advice(text, error.description())));
  }
}

FieldInput to_input(const toml::node& node, const std::string& key, const std::string& where) {
  if (const auto* integer = node.as_integer()) return integer->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* text = node.as_string()) return text->get();
  const char* kind = node.is_table() ? "a section" : node.is_array() ? "a list" : "a date or time";
  throw ArgumentError(fmt::format("{}: {} cannot be {}: give one number, text, or true or false", where, key, kind));
}

struct Reader {
  const FieldList& list;
  const std::string& file_name;

  std::string at(const toml::node& node) const { return place(file_name, node.source()); }
  std::string at(const toml::key& key) const { return place(file_name, key.source()); }

  bool is_section(std::string_view name) const {
    for (const Section& section : list.sections) {
      if (section.name == name) return true;
    }
    return false;
  }

  void read_field(const std::string& section, const toml::key& key, const toml::node& node) const {
    const std::string full = section.empty() ? std::string(key.str()) : section + "." + std::string(key.str());
    const Field& field = find_field(list, full, at(key));
    set_field(field, to_input(node, full, at(node)), at(node));
    if (list.origins != nullptr) (*list.origins)[full] = {file_name, at(node)};
  }

  void read_section(const toml::key& key, const toml::node& node) const {
    const std::string name(key.str());
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      throw ArgumentError(
          fmt::format("{}: {} is a section: write [{}] on a line of its own and its keys below", at(key), name, name));
    }
    for (const auto& [inner_key, inner] : *table) read_field(name, inner_key, inner);
  }

  void refuse_section(const toml::key& key) const {
    std::vector<std::string> names;
    for (const Section& section : list.sections) names.push_back(section.name);
    throw ArgumentError(fmt::format("{}: there is no section {}{}; the sections are {}", at(key),
                                    quote_short(key.str()), section_hint(list, key.str()), join(names, ", ")));
  }

  void read(const toml::table& table, const std::string& left_out) const {
    for (const auto& [key, node] : table) {
      if (key.str() == "preset" || key.str() == left_out) continue;
      if (is_section(key.str())) {
        read_section(key, node);
      } else if (node.is_table()) {
        refuse_section(key);
      } else {
        read_field("", key, node);
      }
    }
  }

  void read_preset(const toml::node& node, const std::function<void(const std::string&)>& preset) const {
    const auto* name = node.as_string();
    if (name == nullptr)
      throw ArgumentError(at(node) + ": preset takes a name in double quotes, such as preset = \"quickstart\"");
    if (!preset) throw ArgumentError(at(node) + ": preset has no meaning in this file; remove the line");
    try {
      preset(name->get());
    } catch (const ArgumentError& error) {
      throw ArgumentError(at(node) + ": " + error.what());
    }
  }
};

}  // namespace

bool has_tables(std::string_view text, const std::string& file_name, const std::string& name) {
  const toml::table table = parse(text, file_name);
  const toml::node* const node = table.get(name);
  return node != nullptr && node->is_array_of_tables();
}

void read_toml(const FieldList& list, std::string_view text, const std::string& file_name,
               const std::function<void(const std::string&)>& preset, const TableList& tables) {
  const toml::table table = parse(text, file_name);
  const Reader reader{list, file_name};
  if (const toml::node* node = table.get("preset")) reader.read_preset(*node, preset);
  reader.read(table, tables.name);
  const toml::node* const node = tables.name.empty() ? nullptr : table.get(tables.name);
  if (node == nullptr) return;
  if (!node->is_array_of_tables())
    throw ArgumentError(fmt::format("{}: {} is a list of tables: write [[{}]] on a line of its own and its keys below",
                                    reader.at(*node), tables.name, tables.name));
  for (const toml::node& one : *node->as_array()) {
    const FieldList fields = tables.next();
    Reader{fields, file_name}.read(*one.as_table(), "");
  }
}

std::string unquote(const std::string& text, const std::string& where) {
  const std::string refusal =
      where + ": " + quote_short(text) + " is not a TOML string: escape \" and \\ by a backslash";
  if (text.find_first_of("\r\n") != std::string::npos) throw ArgumentError(refusal + " and write a line end as \\n");
  try {
    if (const auto value = toml::parse("text = " + text)["text"].value<std::string>()) return *value;
  } catch (const toml::parse_error&) {  // nor is it another value
  }
  throw ArgumentError(refusal);
}

}  // namespace weir
