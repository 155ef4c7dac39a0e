#include "core/fields.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "core/text.h"

namespace weir {
namespace {

template <class... Lambdas>
struct Overloaded : Lambdas... {
  using Lambdas::operator()...;
};
template <class... Lambdas>
Overloaded(Lambdas...) -> Overloaded<Lambdas...>;

std::string input_text(const FieldInput& input) {
  return std::visit(Overloaded{[](const std::string& text) { return "the text " + quote_short(text); },
                               [](bool flag) { return std::string(flag ? "true" : "false"); },
                               [](auto number) { return fmt::format("{}", number); }},
                    input);
}

// What to give instead: "an integer, 1 to 65536, such as 128".
std::string wanted_text(const Field& field) {
  const std::string limits = limits_text(field);
  if (std::holds_alternative<Choices>(field.limits)) return "one of " + limits;
  std::string wanted = std::visit(
      Overloaded{[](std::int64_t*) { return "an integer"; }, [](double*) { return "a number"; },
                 [](bool*) { return "true or false"; }, [](std::string*) { return "text in UTF-8 without NUL"; }},
      field.value);
  if (!limits.empty()) wanted += ", " + limits;
  const bool has_example =
      std::holds_alternative<std::int64_t*>(field.value) || std::holds_alternative<double*>(field.value);
  return has_example ? wanted + ", such as " + value_text(field) : wanted;
}

[[noreturn]] void refuse(const Field& field, const FieldInput& input, const std::string& where) {
  std::string message =
      fmt::format("{}: {} cannot be {}: give {}", where, field.key(), input_text(input), wanted_text(field));
  if (const auto* choices = std::get_if<Choices>(&field.limits)) {
    if (const auto* text = std::get_if<std::string>(&input)) message += did_you_mean(*text, *choices);
  }
  throw ArgumentError(message);
}

std::optional<std::int64_t> as_integer(const FieldInput& input) {
  if (const auto* integer = std::get_if<std::int64_t>(&input)) return *integer;
  const auto* number = std::get_if<double>(&input);
  constexpr double exact = 9007199254740992.0;  // 2^53: beyond it a float no longer names one integer
  if (number == nullptr || !(std::abs(*number) <= exact) || *number != std::floor(*number)) return {};
  return static_cast<std::int64_t>(*number);
}

std::optional<double> as_number(const FieldInput& input) {
  if (const auto* number = std::get_if<double>(&input)) return *number;
  if (const auto* integer = std::get_if<std::int64_t>(&input)) return static_cast<double>(*integer);
  return {};
}

bool allows(const Field& field, std::int64_t value) {
  const auto& limits = std::get<IntegerLimits>(field.limits);
  return value >= limits.min && value <= limits.max;
}

bool allows(const Field& field, double value) {
  const auto& limits = std::get<NumberLimits>(field.limits);
  return std::isfinite(value) && value >= limits.min && value <= limits.max && value > limits.above &&
         value < limits.below;
}

bool allows(const Field& field, const std::string& value) {
  if (const auto* choices = std::get_if<Choices>(&field.limits)) {
    for (const std::string& choice : *choices) {
      if (choice == value) return true;
    }
    return false;
  }
  return value.find('\0') == std::string::npos && is_utf8(value);
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

template <class Number>
std::optional<Number> parse_whole(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return number;
}

FieldInput parse_value(const Field& field, const std::string& raw, const std::string& where) {
  const std::string text = trimmed(raw);
  if (std::holds_alternative<std::string*>(field.value)) {
    const bool in_quotes = text.size() >= 2 && text.front() == '"' && text.back() == '"';
    return in_quotes ? unquote(text, where) : raw;
  }
  if (text == "true") return true;
  if (text == "false") return false;
  if (const auto integer = parse_whole<std::int64_t>(text)) return *integer;
  if (const auto number = parse_whole<double>(text)) return *number;
  return text;
}

}  // namespace

void FieldVisitor::field(const char* name, std::int64_t& value, IntegerLimits limits, const char* help) {
  list_.fields.push_back({section_, name, help, &value, limits});
}

void FieldVisitor::field(const char* name, double& value, NumberLimits limits, const char* help) {
  list_.fields.push_back({section_, name, help, &value, limits});
}

void FieldVisitor::field(const char* name, bool& value, const char* help) {
  list_.fields.push_back({section_, name, help, &value, {}});
}

void FieldVisitor::field(const char* name, std::string& value, const char* help) {
  list_.fields.push_back({section_, name, help, &value, {}});
}

void FieldVisitor::field(const char* name, std::string& value, Choices choices, const char* help) {
  list_.fields.push_back({section_, name, help, &value, std::move(choices)});
}

void set_field(const Field& field, const FieldInput& input, const std::string& where) {
  const auto store = [&](auto* target, const auto& value) {
    if (!value || !allows(field, *value)) refuse(field, input, where);
    *target = *value;
  };
  std::visit(Overloaded{[&](std::int64_t* target) { store(target, as_integer(input)); },
                        [&](double* target) { store(target, as_number(input)); },
                        [&](std::string* target) { store(target, std::get_if<std::string>(&input)); },
                        [&](bool* target) {
                          if (!std::holds_alternative<bool>(input)) refuse(field, input, where);
                          *target = std::get<bool>(input);
                        }},
             field.value);
}

const Field& find_field(const FieldList& list, const std::string& key, const std::string& where) {
  std::vector<std::string> keys;
  std::string same_name;  // the right name in the wrong section
  for (const Field& field : list.fields) {
    if (field.key() == key) return field;
    if (field.section == key) {
      throw ArgumentError(
          fmt::format("{}: {} is a section: give one of its keys, such as {}", where, key, field.key()));
    }
    keys.push_back(field.key());
    if (same_name.empty() && field.name == key.substr(key.rfind('.') + 1)) same_name = field.key();
  }
  const std::string hint = same_name.empty() ? did_you_mean(key, keys) : "; did you mean " + same_name + "?";
  throw ArgumentError(fmt::format("{}: there is no key {}{}{}", where, quote_short(key), hint,
                                  hint.empty() ? "; 'weir train --keys' lists every key" : ""));
}

void apply_override(const FieldList& list, const std::string& argument) {
  const std::string where = "argument " + quote_short(argument);
  const std::size_t equals = argument.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw ArgumentError(where + ": a setting is written section.key=value, such as train.seed=1");
  }
  const Field& field = find_field(list, trimmed(argument.substr(0, equals)), where);
  set_field(field, parse_value(field, argument.substr(equals + 1), where), where);
}

}  // namespace weir
