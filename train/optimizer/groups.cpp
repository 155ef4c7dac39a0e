#include "train/optimizer/groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/text.h"

namespace weir {
namespace {

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// What all layers have is named once: "layer0.ff.w1" -> "layer*.ff.w1", which is a pattern as well.
std::string without_numbers(const std::string& name) {
  std::string text;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool in_layer = text.ends_with("layer") || text.ends_with("layer*");
    if (!in_layer || std::isdigit(static_cast<unsigned char>(name[i])) == 0)
      text += name[i];
    else if (!text.ends_with('*'))
      text += '*';
  }
  return text;
}

std::vector<std::string> kinds_of_names(const ParameterSet& parameters) {
  std::vector<std::string> names;
  for (const Parameter& p : parameters.parameters())
    if (std::string name = without_numbers(p.name); std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(std::move(name));
  return names;
}

void check_matches(const std::string& setting, const std::string& pattern, const ParameterSet& parameters) {
  for (const Parameter& p : parameters.parameters())
    if (matches_pattern(pattern, p.name)) return;
  const std::vector<std::string> names = kinds_of_names(parameters);
  std::vector<std::string> meant = names;
  for (const std::string& name : names) meant.push_back("*" + name.substr(std::min(name.rfind('.'), name.size())));
  throw ArgumentError(fmt::format("{}: {} matches no parameter of the model{}; its parameters are called {}", setting,
                                  quote_short(pattern), did_you_mean(pattern, meant), join(names, ", ")));
}

double parse_factor(const std::string& text, const std::string& rates) {
  double factor = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), factor);
  if (error == std::errc() && end == text.data() + text.size() && std::isfinite(factor) && factor >= 0) return factor;
  throw ArgumentError(
      fmt::format("optimizer.rates = {}: {} is no factor of a learning rate; give a number from 0 on, such as 0.1",
                  quote(rates), quote_short(text)));
}

}  // namespace

bool matches_pattern(const std::string& pattern, const std::string& name) {
  std::size_t p = 0, n = 0, star = std::string::npos, resumed = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resumed = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string::npos) {  // the last * takes one character more
      p = star + 1;
      n = ++resumed;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string::npos;
}

std::vector<std::string> parse_patterns(const std::string& setting, const std::string& text) {
  std::vector<std::string> patterns;
  if (trimmed(text).empty()) return patterns;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    patterns.push_back(trimmed(text.substr(begin, comma - begin)));
    if (patterns.back().empty())
      throw ArgumentError(fmt::format("{} = {}: a name is missing before or after a comma; leave that comma out",
                                      setting, quote(text)));
    begin = comma + 1;
  }
  return patterns;
}

ParameterGroups::ParameterGroups(const std::string& no_decay, const std::string& rates)
    : no_decay_(parse_patterns("optimizer.no_decay", no_decay)) {
  for (const std::string& entry : parse_patterns("optimizer.rates", rates)) {
    const std::size_t equals = std::min(entry.find('='), entry.size());
    const std::string pattern = trimmed(entry.substr(0, equals));
    if (pattern.empty() || equals == entry.size())
      throw ArgumentError(fmt::format("optimizer.rates = {}: {} is not NAME=FACTOR; write for example *.router=0.1",
                                      quote(rates), quote_short(entry)));
    rates_.emplace_back(pattern, parse_factor(trimmed(entry.substr(equals + 1)), rates));
  }
}

void ParameterGroups::check(const ParameterSet& parameters) const {
  for (const std::string& pattern : no_decay_) check_matches("optimizer.no_decay", pattern, parameters);
  for (const auto& [pattern, factor] : rates_) check_matches("optimizer.rates", pattern, parameters);
}

bool ParameterGroups::decays(const std::string& name) const {
  return std::none_of(no_decay_.begin(), no_decay_.end(),
                      [&](const std::string& pattern) { return matches_pattern(pattern, name); });
}

double ParameterGroups::rate(const std::string& name) const {
  double rate = 1;
  for (const auto& [pattern, factor] : rates_)
    if (matches_pattern(pattern, name)) rate = factor;
  return rate;
}

std::vector<ParameterRange> ranges_of(const ParameterSet& parameters, const ParameterGroups& groups,
                                      const std::function<bool(const Parameter&)>& is_alone) {
  std::vector<ParameterRange> ranges;
  for (const Parameter& p : parameters.parameters()) {
    const ParameterSet::Place place = parameters.place_of(p);
    const ParameterRange range{place.begin, place.end, groups.decays(p.name), groups.rate(p.name),
                               is_alone && is_alone(p) ? &p : nullptr};
    if (range.begin == range.end) continue;
    ParameterRange* const last = ranges.empty() ? nullptr : &ranges.back();
    if (last != nullptr && last->alone == nullptr && range.alone == nullptr && last->decays == range.decays &&
        last->rate == range.rate)
      last->end = range.end;
    else
      ranges.push_back(range);
  }
  return ranges;
}

}  // namespace weir
