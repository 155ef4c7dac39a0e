#define PCRE2_CODE_UNIT_WIDTH 8
#include "train/tokenizer/json/pattern.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/text.h"
#include "train/tokenizer/json/unicode.h"

namespace weir {
namespace {

constexpr std::size_t kMaxExpression = 16384;     // bytes
constexpr std::uint32_t kMatchLimit = 1'000'000;  // steps of one match
constexpr std::uint32_t kHeapLimit = 64 * 1024;   // KiB
constexpr std::size_t kStackStart = 32 * 1024, kStackMax = 1 << 20;

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Code = std::unique_ptr<pcre2_code, Freed<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Freed<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freed<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freed<pcre2_jit_stack_free>>;

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

// From Oniguruma's Ruby dialect to PCRE2's.
class Translator {
 public:
  Translator(const std::string& where, std::string_view expression) : where_(where), in_(expression) {}

  std::string run() {
    while (at_ < in_.size()) {
      if (in_[at_] == '\\') {
        escape();
      } else if (in_class_) {
        inside_class();
      } else {
        outside_class();
      }
    }
    return std::move(out_);
  }

 private:
  bool ahead(std::string_view text) const { return in_.substr(at_).starts_with(text); }

  void copy(std::size_t count) {
    out_ += in_.substr(at_, count);
    at_ += count;
  }

  void put(std::size_t skipped, std::string_view text) {
    at_ += skipped;
    out_ += text;
  }

  [[noreturn]] void refuse(std::string_view what) const {
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: the pattern {} uses {}, which is not supported", where_, quote_short(in_), what));
  }

  void escape() {
    const char letter = at_ + 1 < in_.size() ? in_[at_ + 1] : '\0';
    constexpr std::string_view kWord = "\\p{L}\\p{M}\\p{Nd}\\p{Pc}", kHex = "0-9A-Fa-f";
    const auto set = [&](std::string_view members, bool negated) {
      if (in_class_ && negated) refuse(fmt::format("\\{} in a class", letter));
      put(2, in_class_ ? std::string(members) : fmt::format("[{}{}]", negated ? "^" : "", members));
    };
    switch (letter) {
      case 's':
        return put(2, "\\p{White_Space}");
      case 'S':
        return put(2, "\\P{White_Space}");
      case 'w':
        return set(kWord, false);
      case 'W':
        return set(kWord, true);
      case 'h':
        return set(kHex, false);
      case 'H':
        return set(kHex, true);
      case 'u':
        return unicode_escape();
      case 'b':
      case 'B':
      case 'G':
      case 'K':
      case 'X':
      case 'R':
      case 'C':
      case 'M':
      case 'y':
      case 'Y':
        if (letter != 'b' || !in_class_) refuse(fmt::format("\\{}", letter));
        return copy(2);
      default:
        return copy(std::min<std::size_t>(2, in_.size() - at_));
    }
  }

  void unicode_escape() {
    const std::string_view digits = in_.substr(at_ + 2, 4);
    if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
      refuse("\\u without four hexadecimal digits");
    put(6, fmt::format("\\x{{{}}}", digits));
  }

  void inside_class() {
    if (ahead("[:")) {
      const std::size_t end = in_.find(":]", at_);
      if (end == std::string_view::npos) refuse("a class in a class");
      return copy(end + 2 - at_);
    }
    if (in_[at_] == '[') refuse("a class in a class");
    if (ahead("&&")) refuse("&& in a class");
    in_class_ = in_[at_] != ']';
    copy(1);
  }

  void outside_class() {
    if (in_[at_] == '[') {
      in_class_ = true;
      // A ] that comes first stands for itself.
      copy(ahead("[^]") ? 3 : ahead("[]") || ahead("[^") ? 2 : 1);
      return;
    }
    if (ahead("{,")) return put(2, "{0,");
    if (ahead("(?")) check_group();
    if (in_[at_] == '}' && at_ + 1 < in_.size() && in_[at_ + 1] == '+') refuse("{}+");
    copy(1);
  }

  // Options and groups that mean the same in both: (?: (?= (?! (?<= (?<! (?> (?<name> and (?i (?-i
  void check_group() const {
    const std::string_view rest = in_.substr(at_ + 2);
    const char kind = rest.empty() ? '\0' : rest[0];
    if (kind == ':' || kind == '=' || kind == '!' || kind == '>' || kind == '<') return;
    const std::size_t options = std::min(rest.find_first_not_of("i-"), rest.size());
    // (?i) would take the alternatives behind it into a group, but at the start that is all the same.
    const bool whole = options > 0 && options < rest.size() && rest[options] == ')' && at_ == 0;
    if (!whole && (options == 0 || options == rest.size() || rest[options] != ':'))
      refuse(fmt::format("(?{}", kind == '\0' ? "" : std::string(1, kind)));
  }

  const std::string& where_;
  std::string_view in_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

// What a match needs besides the expression; one for each thread.
struct Workspace {
  MatchContext context{pcre2_match_context_create(nullptr)};
  JitStack stack{pcre2_jit_stack_create(kStackStart, kStackMax, nullptr)};
  MatchData data{pcre2_match_data_create(1, nullptr)};

  Workspace() {
    if (!context || !stack || !data) throw std::bad_alloc();
    pcre2_set_match_limit(context.get(), kMatchLimit);
    pcre2_set_heap_limit(context.get(), kHeapLimit);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

class RegexPattern final : public Pattern {
 public:
  RegexPattern(std::string where, std::string expression)
      : where_(std::move(where)), expression_(std::move(expression)) {
    if (expression_.size() > kMaxExpression)
      throw RunError(ExitCode::bad_data, fmt::format("{}: the pattern has {} bytes, at most {} are allowed", where_,
                                                     expression_.size(), kMaxExpression));
    const std::string translated = Translator(where_, expression_).run();
    const CompileContext context(pcre2_compile_context_create(nullptr));
    if (!context) throw std::bad_alloc();
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                              context.get()));
    if (!code_)
      throw RunError(ExitCode::bad_data, fmt::format("{}: the pattern {} cannot be compiled: {}; correct it", where_,
                                                     quote_short(expression_), message_of(error)));
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // faster where it works
  }

  std::vector<Span> find(std::string_view text) const override {
    std::vector<Span> spans;
    std::size_t covered = 0, from = 0;
    bool matched = false;
    while (from <= text.size() && !text.empty()) {
      std::size_t begin = 0, end = 0;
      if (!match(text, from, begin, end)) break;
      // An empty match right behind a match does not count.
      if (begin == end && matched && end == covered) {
        if (from == text.size()) break;
        next_code_point(text, from);
        continue;
      }
      if (begin != covered) spans.push_back({covered, begin, false});
      spans.push_back({begin, end, true});
      covered = from = end;
      matched = true;
    }
    if (covered != text.size()) spans.push_back({covered, text.size(), false});
    return spans;
  }

 private:
  bool match(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const {
    static thread_local const Workspace workspace;
    const int result = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                   PCRE2_NO_UTF_CHECK, workspace.data.get(), workspace.context.get());
    if (result == PCRE2_ERROR_NOMATCH) return false;
    if (result == PCRE2_ERROR_NOMEMORY) throw std::bad_alloc();
    if (result < 0)
      throw RunError(ExitCode::bad_data,
                     fmt::format("{}: the pattern {} takes too long on a text of {} bytes: {}; write it without nested "
                                 "repetition",
                                 where_, quote_short(expression_), text.size(), message_of(result)));
    const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(workspace.data.get());
    begin = bounds[0];
    end = bounds[1];
    return true;
  }

  std::string where_, expression_;
  Code code_;
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
    return std::make_unique<LiteralPattern>(literal->text());
  }
  const JsonPlace regex = place.at("Regex");
  return make_regex(regex.where(), regex.text());
}

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

std::vector<Span> cut(const std::vector<Span>& spans, Delimiter delimiter) {
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
      parts = spans;
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
