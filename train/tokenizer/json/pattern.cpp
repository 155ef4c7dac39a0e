#include "train/tokenizer/json/pattern.h"

#include <algorithm>
#include <array>

#include "train/tokenizer/json/regex.h"
#include "train/tokenizer/json/unicode.h"

namespace weir {
namespace {

class RegexPattern final : public Pattern {
 public:
  RegexPattern(const std::string& where, const std::string& expression) : regex_(where, expression) {}

  std::vector<Span> find(std::string_view text) const override {
    if (text.empty()) return {};
    const std::vector<Regex::Match> matches = regex_.find_all(text);
    std::vector<Span> spans;
    spans.reserve(matches.size() + 8);
    std::size_t covered = 0;
    for (const Regex::Match& match : matches) {
      if (match.begin != covered) spans.push_back({covered, match.begin, false});
      spans.push_back({match.begin, match.end, true});
      covered = match.end;
    }
    if (covered != text.size()) spans.push_back({covered, text.size(), false});
    return spans;
  }

 private:
  Regex regex_;
};

class LiteralPattern final : public Pattern {
 public:
  explicit LiteralPattern(std::string literal) : literal_(std::move(literal)) {}

  std::vector<Span> find(std::string_view text) const override {
    std::vector<Span> spans;
    std::size_t covered = 0;
    for (std::size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, covered)) {
      if (at != covered) spans.push_back({covered, at, false});
      spans.push_back({at, at + literal_.size(), true});
      covered = at + literal_.size();
    }
    if (covered != text.size()) spans.push_back({covered, text.size(), false});
    return spans;
  }

 private:
  std::string literal_;
};

}  // namespace

std::unique_ptr<Pattern> make_pattern(const JsonPlace& place) {
  if (const auto literal = place.find("String")) {
    if (literal->text().empty()) literal->refuse("the text to look for is empty");
    return make_literal(literal->text());
  }
  const JsonPlace regex = place.at("Regex");
  return make_regex(regex.where(), regex.text());
}

std::unique_ptr<Pattern> make_literal(std::string text) { return std::make_unique<LiteralPattern>(std::move(text)); }

std::unique_ptr<Pattern> make_regex(const std::string& where, const std::string& expression) {
  return std::make_unique<RegexPattern>(where, expression);
}

std::vector<Span> find_characters(std::string_view text, const std::function<bool(std::uint32_t)>& matches) {
  std::vector<Span> spans;
  std::size_t covered = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (!matches(next_code_point(text, at))) continue;
    if (begin != covered) spans.push_back({covered, begin, false});
    spans.push_back({begin, at, true});
    covered = at;
  }
  if (covered != text.size()) spans.push_back({covered, text.size(), false});
  return spans;
}

Delimiter delimiter_from(const JsonPlace& place) {
  constexpr std::array<const char*, 5> kNames{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                              "Contiguous"};
  const auto found = std::find(kNames.begin(), kNames.end(), place.text());
  if (found == kNames.end())
    place.unsupported(place.text(), "Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
  return static_cast<Delimiter>(found - kNames.begin());
}

std::vector<Span> cut(std::vector<Span> spans, Delimiter delimiter) {
  if (delimiter == Delimiter::isolated) return spans;
  std::vector<Span> parts;
  parts.reserve(spans.size());
  bool previous = false;  // whether the span before was a match
  const auto add = [&](const Span& span, bool joins) {
    if (joins && !parts.empty()) {
      parts.back().begin = std::min(parts.back().begin, span.begin);
      parts.back().end = std::max(parts.back().end, span.end);
    } else {
      parts.push_back(span);
    }
    previous = span.match;
  };
  switch (delimiter) {
    case Delimiter::removed:
      for (const Span& span : spans)
        if (!span.match) parts.push_back(span);
      break;
    case Delimiter::isolated:
      break;
    case Delimiter::contiguous:
      for (const Span& span : spans) add(span, span.match == previous);
      break;
    case Delimiter::merged_with_previous:
      for (const Span& span : spans) add(span, span.match && !previous);
      break;
    case Delimiter::merged_with_next:
      for (auto span = spans.rbegin(); span != spans.rend(); ++span) add(*span, span->match && !previous);
      std::reverse(parts.begin(), parts.end());
      break;
  }
  return parts;
}

}  // namespace weir
