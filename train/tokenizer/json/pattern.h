// Patterns that cut texts: a literal, or a regular expression (regex.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "train/tokenizer/json/document.h"

namespace weir {

// Bytes [begin, end) of a text, and whether the pattern stands there.
struct Span {
  std::size_t begin, end;
  bool match;
};

class Pattern {
 public:
  virtual ~Pattern() = default;
  // Covers the text from beginning to end. An expression that takes too long on it ends in RunError(bad_data).
  virtual std::vector<Span> find(std::string_view text) const = 0;
};

// {"String": ...} or {"Regex": ...}.
std::unique_ptr<Pattern> make_pattern(const JsonPlace& place);
std::unique_ptr<Pattern> make_literal(std::string text);
// An expression of our own.
std::unique_ptr<Pattern> make_regex(const std::string& where, const std::string& expression);

// Every character that satisfies `matches` is a span, and so is what lies between two of them.
std::vector<Span> find_characters(std::string_view text, const std::function<bool(std::uint32_t)>& matches);

// What becomes of the matches when a text is cut.
enum class Delimiter { removed, isolated, merged_with_previous, merged_with_next, contiguous };
Delimiter delimiter_from(const JsonPlace& place);
// The parts that remain, in order.
std::vector<Span> cut(std::vector<Span> spans, Delimiter delimiter);

}  // namespace weir
