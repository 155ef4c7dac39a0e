// What is written from a field list: resolved TOML, JSON, help and documentation.
#include <fmt/format.h>

#include <cmath>

#include "core/fields.h"
#include "core/text.h"

namespace weir {
namespace {

std::string number_text(double value) {
  std::string text = fmt::format("{}", value);  // the shortest text that reads back as the same bits
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string plain_number(double value) { return fmt::format("{}", value); }

std::string integer_limits_text(const IntegerLimits& limits) {
  const bool has_min = limits.min != IntegerLimits{}.min;
  const bool has_max = limits.max != IntegerLimits{}.max;
  if (has_min && has_max) return fmt::format("{} to {}", limits.min, limits.max);
  if (has_min) return fmt::format("at least {}", limits.min);
  return has_max ? fmt::format("at most {}", limits.max) : "";
}

std::string number_limits_text(const NumberLimits& limits) {
  if (std::isfinite(limits.min) && std::isfinite(limits.max))
    return plain_number(limits.min) + " to " + plain_number(limits.max);
  std::vector<std::string> parts;
  if (std::isfinite(limits.min)) parts.push_back("at least " + plain_number(limits.min));
  if (std::isfinite(limits.above)) parts.push_back("above " + plain_number(limits.above));
  if (std::isfinite(limits.max)) parts.push_back("at most " + plain_number(limits.max));
  if (std::isfinite(limits.below)) parts.push_back("below " + plain_number(limits.below));
  return join(parts, " and ");
}

std::string description(const Field& field) {
  const std::string limits = limits_text(field);
  if (std::holds_alternative<Choices>(field.limits)) return "one of " + limits;
  return limits.empty() ? type_text(field) : type_text(field) + ", " + limits;
}

std::string cell(std::string text) {
  for (std::size_t i = text.find('|'); i != std::string::npos; i = text.find('|', i + 2)) text.insert(i, 1, '\\');
  return text;
}

// Calls `heading` before the first field of each section and `row` for every field.
template <class Heading, class Row>
void walk(const FieldList& list, Heading heading, Row row) {
  for (const Field& field : list.fields) {
    if (field.section.empty()) row(field);
  }
  for (const Section& section : list.sections) {
    heading(section);
    for (const Field& field : list.fields) {
      if (field.section == section.name) row(field);
    }
  }
}

}  // namespace

std::string type_text(const Field& field) {
  if (std::holds_alternative<Choices>(field.limits)) return "choice";
  static constexpr const char* names[] = {"integer", "number", "true or false", "text"};  // in the variant's order
  return names[field.value.index()];
}

std::string limits_text(const Field& field) {
  if (const auto* limits = std::get_if<IntegerLimits>(&field.limits)) return integer_limits_text(*limits);
  if (const auto* limits = std::get_if<NumberLimits>(&field.limits)) return number_limits_text(*limits);
  if (const auto* choices = std::get_if<Choices>(&field.limits)) return join(*choices, ", ");
  return {};
}

std::string value_text(const Field& field) {
  if (auto* const* integer = std::get_if<std::int64_t*>(&field.value)) return fmt::format("{}", **integer);
  if (auto* const* number = std::get_if<double*>(&field.value)) return number_text(**number);
  if (auto* const* flag = std::get_if<bool*>(&field.value)) return **flag ? "true" : "false";
  return quote(*std::get<std::string*>(field.value));
}

std::string write_toml(const FieldList& list) {
  std::string text;
  walk(
      list.in_use(), [&](const Section& section) { text += fmt::format("\n# {}\n[{}]\n", section.help, section.name); },
      [&](const Field& field) {
        text += fmt::format("# {} ({})\n{} = {}\n", field.help, description(field), field.name, value_text(field));
      });
  return text;
}

std::string write_json(const FieldList& list) {
  std::string text = "{";
  bool in_section = false;
  const auto comma = [&] {
    if (text.back() != '{') text += ',';
  };
  walk(
      list.in_use(),
      [&](const Section& section) {
        if (in_section) text += '}';
        in_section = true;
        comma();
        text += quote(section.name) + ":{";
      },
      [&](const Field& field) {
        comma();
        text += quote(field.name) + ":" + value_text(field);
      });
  return text + (in_section ? "}}" : "}");
}

std::string write_help(const FieldList& list) {
  std::string text;
  walk(
      list,
      [&](const Section& section) {
        text += "\n" + wrapped(fmt::format("[{}] {}", section.name, section.help), "", 80);
      },
      [&](const Field& field) {
        text += fmt::format("  {} = {}\n", field.key(), value_text(field));
        text += wrapped(fmt::format("{} ({})", field.help, description(field)), "      ", 80);
      });
  return text;
}

std::string write_markdown(const FieldList& list) {
  const std::string head = "\n| key | type | default | meaning |\n|---|---|---|---|\n";
  std::string text = head;
  walk(
      list, [&](const Section& section) { text += fmt::format("\n## {}\n\n{}\n{}", section.name, section.help, head); },
      [&](const Field& field) {
        text += fmt::format("| `{}` | {} | `{}` | {} |\n", field.key(), cell(description(field)),
                            cell(value_text(field)), cell(field.help));
      });
  return text;
}

}  // namespace weir
