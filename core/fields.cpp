#include "core/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
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
                               [](std::int64_t integer) { return fmt::format("{}", integer); },
                               // The sign of what is no number says nothing.
                               [](double number) { return std::isnan(number) ? "nan" : fmt::format("{}", number); }},
                    input);
}

// What others call our element types.
constexpr Synonyms kChoices[] = {{"bf16", "bfloat16"}, {"float32", "fp32 f32 single"}};

// "; did you mean bf16?", or an empty string.
std::string choice_hint(const std::string& given, const Choices& choices) {
  for (const Synonyms& synonyms : kChoices)
    if (synonyms.contain(given) && std::find(choices.begin(), choices.end(), synonyms.name) != choices.end())
      return fmt::format("; did you mean {}?", synonyms.name);
  return did_you_mean(given, choices);
}

std::string kind_text(const Field& field) {
  return std::visit(
      Overloaded{[](std::int64_t*) { return "an integer"; }, [](double*) { return "a number"; },
                 [](bool*) { return "true or false"; }, [](std::string*) { return "text in UTF-8 without NUL"; }},
      field.value);
}

bool is_numeric(const Field& field) {
  return std::holds_alternative<std::int64_t*>(field.value) || std::holds_alternative<double*>(field.value);
}

constexpr double kExact = 9007199254740992.0;  // 2^53: beyond it a float no longer names one integer

std::optional<std::int64_t> as_integer(const FieldInput& input) {
  if (const auto* integer = std::get_if<std::int64_t>(&input)) return *integer;
  const auto* number = std::get_if<double>(&input);
  if (number == nullptr || !(std::abs(*number) <= kExact) || *number != std::floor(*number)) return {};
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

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

template <class Number>
std::optional<Number> parse_whole(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return number;
}

// Whether a float, such as 1e17, is within the limits of an integer, but beyond those that it names exactly.
bool is_too_coarse(const Field& field, const FieldInput& input) {
  const auto* const limits = std::get_if<IntegerLimits>(&field.limits);
  const auto* const number = std::get_if<double>(&input);
  return limits != nullptr && number != nullptr && std::abs(*number) > kExact &&
         *number < static_cast<double>(limits->max) && *number >= static_cast<double>(limits->min);
}

// The limits of a field; of an integer also the one that its type has, where the value is beyond that.
std::string limits_for(const Field& field, const FieldInput& input) {
  constexpr auto most = static_cast<double>(std::numeric_limits<std::int64_t>::max());
  const auto* const limits = std::get_if<IntegerLimits>(&field.limits);
  const auto* const number = std::get_if<double>(&input);
  if (limits == nullptr || number == nullptr || std::abs(*number) < most) return limits_text(field);
  return fmt::format("{} to {}", limits->min, limits->max);
}

// What to give instead: "an integer, 1 to 65536, such as 128".
std::string wanted_text(const Field& field, const FieldInput& input) {
  const std::string limits = limits_for(field, input);
  if (std::holds_alternative<Choices>(field.limits)) return "one of " + limits;
  std::string wanted = kind_text(field);
  if (is_too_coarse(field, input)) wanted += " in digits";
  if (!limits.empty()) wanted += ", " + limits;
  const std::string example = value_text(field);  // which stands for something else where it is 0 or -1
  const bool says_something = is_numeric(field) && has_allowed_value(field) && example[0] != '-' &&
                              example.find_first_of("123456789") != std::string::npos;
  return says_something ? wanted + ", such as " + example : wanted;
}

[[noreturn]] void refuse(const Field& field, const FieldInput& input, const std::string& where) {
  std::string message =
      fmt::format("{}: {} cannot be {}: give {}", where, field.key(), input_text(input), wanted_text(field, input));
  if (const auto* choices = std::get_if<Choices>(&field.limits)) {
    if (const auto* text = std::get_if<std::string>(&input)) message += choice_hint(lower_case(*text), *choices);
  }
  throw ArgumentError(message);
}

// Of what was typed where a number belongs: "0,8" is one to many.
[[noreturn]] void refuse_word(const Field& field, const std::string& text, const std::string& where) {
  std::string with_point = text;
  if (const std::size_t comma = text.find(','); comma != std::string::npos) with_point[comma] = '.';
  const bool comma_for_point =
      std::holds_alternative<double*>(field.value) && with_point != text && parse_whole<double>(with_point).has_value();
  throw ArgumentError(
      fmt::format("{}: {}: not {}: {}; {}", where, field.key(), kind_text(field), quote_short(text),
                  comma_for_point ? "numbers have a point: " + with_point : "give " + wanted_text(field, text)));
}

// "1_000" is 1000, as in TOML: between digits.
std::string without_underscores(const std::string& text) {
  const auto is_digit = [&](std::size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (text[i] != '_' || i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) result += text[i];
  return result;
}

FieldInput parse_value(const Field& field, const std::string& raw, const std::string& where) {
  const std::string text = trimmed(raw);
  if (std::holds_alternative<std::string*>(field.value)) {
    const bool in_quotes = text.size() >= 2 && text.front() == '"' && text.back() == '"';
    return in_quotes ? unquote(text, where) : raw;
  }
  if (text == "true") return true;
  if (text == "false") return false;
  const std::string number = without_underscores(text);
  if (const auto whole = parse_whole<std::int64_t>(number)) return *whole;
  if (const auto real = parse_whole<double>(number)) return *real;
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

bool FieldList::uses(const Field& field) const {
  return std::none_of(sections.begin(), sections.end(),
                      [&](const Section& section) { return section.name == field.section && !section.in_use; });
}

FieldList FieldList::in_use() const {
  FieldList list = *this;
  std::erase_if(list.fields, [&](const Field& field) { return !uses(field); });
  std::erase_if(list.sections, [](const Section& section) { return !section.in_use; });
  return list;
}

bool has_allowed_value(const Field& field) {
  return std::visit(
      Overloaded{[](const bool*) { return true; }, [&](const auto* value) { return allows(field, *value); }},
      field.value);
}

void check_values(const std::string& section, const FieldList& list) {
  for (const Field& field : list.fields)
    if (!has_allowed_value(field))
      throw ArgumentError(fmt::format("{}.{} = {}: give {}", section, field.name, value_text(field),
                                      std::holds_alternative<Choices>(field.limits)
                                          ? "one of " + limits_text(field)
                                          : kind_text(field) + ", " + limits_text(field)));
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

void apply_override(const FieldList& list, const std::string& argument) {
  const std::string where = "argument " + quote_short(argument);
  const std::size_t equals = argument.find('=');
  if (equals == std::string::npos || equals == 0) {
    const auto named = std::find_if(list.fields.begin(), list.fields.end(),
                                    [&](const Field& field) { return field.key() == trimmed(argument); });
    throw ArgumentError(where + ": a setting is written section.key=value, without blanks, such as " +
                        (named == list.fields.end() ? "train.seed=1" : named->key() + "=" + value_text(*named)));
  }
  const Field& field = find_field(list, trimmed(argument.substr(0, equals)), where);
  set_field_from_text(field, argument.substr(equals + 1), where);
  if (list.origins != nullptr) (*list.origins)[field.key()] = {"", "command line"};
}

void set_field_from_text(const Field& field, const std::string& text, const std::string& where) {
  const FieldInput input = parse_value(field, text, where);
  if (is_numeric(field) && std::holds_alternative<std::string>(input)) refuse_word(field, text, where);
  set_field(field, input, where);
}

}  // namespace weir
