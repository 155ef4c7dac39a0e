// Finding a field by its key, and what was meant by a key that is not there.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "core/fields.h"
#include "core/text.h"

namespace weir {
namespace {

std::vector<std::string_view> split(std::string_view words) {
  std::vector<std::string_view> result;
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(' '), words.size());
    if (end > 0) result.push_back(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return result;
}

// As synonyms are written; without the dashes of a flag.
std::string folded(std::string_view word) {
  word.remove_prefix(std::min(word.find_first_not_of('-'), word.size()));
  std::string result(word);
  for (char& c : result) c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

// The section that people call `name`; empty where there is none.
std::string known_section(const FieldList& list, std::string_view name) {
  const std::string word = folded(name);
  for (const Section& section : list.sections) {
    if (section.name == word) return word;
    for (const Synonyms& synonyms : list.synonyms)
      if (synonyms.name == section.name && synonyms.contain(word)) return section.name;
  }
  return {};
}

bool is_called(const FieldList& list, const Field& field, const std::string& word) {
  const std::string key = field.key();
  const auto says_so = [&](const Synonyms& s) { return s.name == key && s.contain(word); };
  return field.name == word || std::any_of(list.synonyms.begin(), list.synonyms.end(), says_so);
}

// The fields that people call by the last part of `key`; where some stand in the section that it names, these alone.
std::vector<std::string> keys_by_name(const FieldList& list, const std::string& key) {
  const std::size_t dot = key.rfind('.');
  const std::string name = folded(key.substr(dot + 1));  // without a dot npos + 1, which is 0
  const std::string section = dot == std::string::npos ? "" : known_section(list, key.substr(0, dot));
  std::vector<std::string> here, everywhere;
  for (const Field& field : list.fields) {
    if (!is_called(list, field, name)) continue;
    everywhere.push_back(field.key());
    if (!section.empty() && field.section == section) here.push_back(field.key());
  }
  return here.empty() ? everywhere : here;
}

// What `key` is most likely a misspelling of: a key, its last part, or a synonym.
std::vector<std::string> nearest_keys(const FieldList& list, const std::string& key) {
  std::vector<std::string> words, keys;
  const auto add = [&](std::string_view word, std::string_view its_key) {
    words.emplace_back(word);
    keys.emplace_back(its_key);
  };
  for (const Field& field : list.fields) add(field.key(), field.key());
  for (const Field& field : list.fields) add(field.name, field.key());
  for (const Synonyms& synonyms : list.synonyms)
    if (synonyms.name.find('.') != std::string_view::npos)
      for (std::string_view word : split(synonyms.words)) add(word, synonyms.name);
  const std::string nearest = nearest_name(key, words);
  if (nearest.empty()) return {};
  return {keys[static_cast<std::size_t>(std::find(words.begin(), words.end(), nearest) - words.begin())]};
}

// What to use instead of a setting that people call by the last part of `key`; empty where there is nothing.
std::string instead_of(const FieldList& list, const std::string& key) {
  const std::string name = folded(key.substr(key.rfind('.') + 1));
  for (const Synonyms& synonyms : list.synonyms)
    if (synonyms.name.find(' ') != std::string_view::npos && synonyms.contain(name)) return std::string(synonyms.name);
  return {};
}

// "train.steps, train.tokens or train.minutes"
std::string alternatives(const std::vector<std::string>& keys) {
  if (keys.size() == 1) return keys[0];
  return join(std::span(keys).first(keys.size() - 1), ", ") + " or " + keys.back();
}

}  // namespace

bool Synonyms::contain(std::string_view word) const {
  const std::vector<std::string_view> all = split(words);
  return std::find(all.begin(), all.end(), word) != all.end();
}

std::string option_hint(const FieldList& list, const std::string& option, const std::string& value) {
  const std::string name = folded(option);
  std::vector<const Field*> meant;
  const auto add = [&](const std::string& key) {
    for (const Field& field : list.fields)
      if (field.key() == key) meant.push_back(&field);
  };
  add(name);
  if (meant.empty())
    for (const std::string& key : keys_by_name(list, name)) add(key);
  const std::string other = instead_of(list, name);
  if (meant.empty() && !other.empty()) return "use " + other;
  if (meant.empty() && name.find('.') != std::string::npos)
    for (const std::string& key : nearest_keys(list, name)) add(key);
  if (meant.empty()) return {};
  std::vector<std::string> settings;
  for (const Field* field : meant) {
    const bool alone = meant.size() == 1, flag = std::holds_alternative<bool*>(field->value);
    const std::string fitting = alone || field->name == name ? value : "";  // the other ones may count in other units
    settings.push_back(shell_word(field->key() + "=" + (!fitting.empty() ? fitting : flag ? "true" : "VALUE")));
  }
  return "settings are written KEY=VALUE, without dashes: " + alternatives(settings);
}

std::string section_hint(const FieldList& list, std::string_view name) {
  std::vector<std::string> names;
  for (const Section& section : list.sections) names.push_back(section.name);
  const std::string known = known_section(list, name);
  return known.empty() ? did_you_mean(name, names) : "; did you mean " + known + "?";
}

const Field& find_field(const FieldList& list, const std::string& key, const std::string& where) {
  for (const Field& field : list.fields) {
    if (field.key() == key) return field;
    if (field.section == key) {
      throw ArgumentError(
          fmt::format("{}: {} is a section: give one of its keys, such as {}", where, key, field.key()));
    }
  }
  std::vector<std::string> meant = keys_by_name(list, key);
  std::string hint = "; 'weir train --keys' lists every key";
  if (const std::string other = instead_of(list, key); meant.empty() && !other.empty()) {
    hint = "; use " + other;
  } else {
    if (meant.empty()) meant = nearest_keys(list, key);
    if (!meant.empty()) hint = "; did you mean " + alternatives(meant) + "?";
  }
  throw ArgumentError(fmt::format("{}: there is no key {}{}", where, quote_short(key), hint));
}

}  // namespace weir
