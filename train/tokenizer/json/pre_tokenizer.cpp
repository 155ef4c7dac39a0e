#include "train/tokenizer/json/pre_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "train/tokenizer/json/byte_level.h"
#include "train/tokenizer/json/pattern.h"
#include "train/tokenizer/json/scripts.h"
#include "train/tokenizer/json/unicode.h"

namespace weir {
namespace {

using Find = std::function<std::vector<Span>(std::string_view)>;

constexpr std::size_t kMaxParts = 64;  // of a sequence
constexpr const char* kSupported =
    "ByteLevel, Metaspace, Whitespace, WhitespaceSplit, Digits, Punctuation, Split, CharDelimiterSplit, FixedLength, "
    "UnicodeScripts, BertPreTokenizer, Sequence";

std::size_t head_of(const Segment& segment, const Span& span) {
  return std::min(segment.head - std::min(span.begin, segment.head), span.end - span.begin);
}

void add_part(std::vector<Segment>& parts, const Segment& segment, const Span& span) {
  if (span.begin == span.end) return;
  parts.push_back({segment.text.substr(span.begin, span.end - span.begin), head_of(segment, span)});
}

// Moving segments takes long, so their place is made beforehand.
void make_room(std::vector<Segment>& parts, std::size_t more) {
  if (parts.size() + more > parts.capacity()) parts.reserve(std::max(parts.size() + more, 2 * parts.capacity()));
}

// Puts in place of each segment what `work` makes of it.
template <class Work>
void replace_each(std::vector<Segment>& segments, Work work) {
  std::vector<Segment> parts;
  parts.reserve(segments.size());
  for (Segment& segment : segments) {
    if (segment.token >= 0)
      parts.push_back(std::move(segment));
    else if (!segment.text.empty())
      work(segment, parts);
  }
  segments = std::move(parts);
}

void prepend(Segment& segment, std::string_view text) {
  segment.text.insert(0, text);
  if (segment.head > 0) segment.head += text.size();
}

class Splitter final : public PreTokenizer {
 public:
  Splitter(Find find, Delimiter delimiter, bool inverted = false)
      : find_(std::move(find)), delimiter_(delimiter), inverted_(inverted) {}

  void apply(std::vector<Segment>& segments) const override {
    replace_each(segments, [&](const Segment& segment, std::vector<Segment>& parts) {
      std::vector<Span> spans = find_(segment.text);
      if (inverted_)
        for (Span& span : spans) span.match = !span.match;
      spans = cut(std::move(spans), delimiter_);
      make_room(parts, spans.size());
      for (const Span& span : spans) add_part(parts, segment, span);
    });
  }

 private:
  Find find_;
  Delimiter delimiter_;
  bool inverted_;
};

Find characters(bool (*matches)(std::uint32_t)) {
  return [matches](std::string_view text) { return find_characters(text, matches); };
}

// Runs of word characters, and runs of what is neither that nor white space.
std::vector<Span> find_words(std::string_view text) {
  const auto kind = [&](std::size_t& at) {
    const std::uint32_t c = next_code_point(text, at);
    return is_word_character(c) ? 1 : is_white_space(c) ? 0 : 2;
  };
  std::vector<Span> spans;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = begin;
    const int first = kind(end);
    for (std::size_t next = end; next < text.size() && kind(next) == first;) end = next;
    spans.push_back({begin, end, first != 0});
    begin = end;
  }
  return spans;
}

// White space vanishes; each sign of punctuation is a word.
class BertPreTokenizer final : public PreTokenizer {
 public:
  void apply(std::vector<Segment>& segments) const override {
    spaces_.apply(segments);
    signs_.apply(segments);
  }

 private:
  Splitter spaces_{characters(is_white_space), Delimiter::removed};
  Splitter signs_{characters(is_punctuation), Delimiter::isolated};
};

// Spans of so many characters.
std::vector<Span> find_lengths(std::string_view text, std::int64_t length) {
  std::vector<Span> spans;
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    for (std::int64_t i = 0; i < length && end < text.size(); ++i) next_code_point(text, end);
    spans.push_back({begin, end, false});
  }
  return spans;
}

// A span for each script, in which Japanese is one with Chinese. Spaces and what is of no script join what is before
// them; before the first they vanish.
std::vector<Span> find_scripts(std::string_view text) {
  std::vector<Span> spans;
  int last = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const int script = script_of(next_code_point(text, at));
    if (script == 0) {
      if (!spans.empty()) spans.back().end = at;
      continue;
    }
    if (script == last)
      spans.back().end = at;
    else
      spans.push_back({begin, at, false});
    last = script;
  }
  return spans;
}

class ByteLevel final : public PreTokenizer {
 public:
  explicit ByteLevel(const JsonPlace& place) : add_prefix_space_(place.at("add_prefix_space").boolean()) {
    // The words of GPT-2: contractions, letters, numbers, other signs, each with a space before it; white space. It is
    // written there with each contraction by itself and without possessive quantifiers, which takes longer.
    if (place.boolean_or("use_regex", true))
      words_ =
          make_regex(place.where(), R"('(?:[stmd]|re|ve|ll)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s+(?!\S)|\s+)");
  }

  void apply(std::vector<Segment>& segments) const override {
    for (Segment& segment : segments)
      if (segment.token < 0 && !segment.text.empty() && add_prefix_space_ && !segment.text.starts_with(' '))
        prepend(segment, " ");
    if (words_ != nullptr)
      replace_each(segments, [&](const Segment& segment, std::vector<Segment>& parts) {
        const std::vector<Span> spans = words_->find(segment.text);
        make_room(parts, spans.size());
        for (const Span& span : spans)
          if (span.begin != span.end) parts.push_back(in_bytes(segment, span));
      });
    else
      for (Segment& segment : segments)
        if (segment.token < 0) segment = in_bytes(segment, {0, segment.text.size(), false});
  }

 private:
  static Segment in_bytes(const Segment& segment, const Span& span) {
    const std::string_view text = std::string_view(segment.text).substr(span.begin, span.end - span.begin);
    const std::size_t head = head_of(segment, span);
    return {to_byte_level(text), head == 0 ? 0 : to_byte_level(text.substr(0, head)).size()};
  }

  bool add_prefix_space_;
  std::unique_ptr<Pattern> words_;
};

class Metaspace final : public PreTokenizer {
 public:
  explicit Metaspace(const JsonPlace& place) : settings_(metaspace_settings(place)) {}

  void apply(std::vector<Segment>& segments) const override {
    using Prepend = MetaspaceSettings::Prepend;
    const std::string& mark = settings_.replacement;
    replace_each(segments, [&](Segment& segment, std::vector<Segment>& parts) {
      replace_spaces(segment);
      const bool wanted =
          settings_.prepend == Prepend::always || (settings_.prepend == Prepend::first && segment.head > 0);
      if (wanted && !segment.text.starts_with(mark)) prepend(segment, mark);
      if (!settings_.split) return parts.push_back(std::move(segment));
      // Each part begins with a mark, but for what stands before the first.
      for (std::size_t begin = 0; begin < segment.text.size();) {
        const std::size_t end = std::min(segment.text.find(mark, begin + 1), segment.text.size());
        add_part(parts, segment, {begin, end, false});
        begin = end;
      }
    });
  }

 private:
  void replace_spaces(Segment& segment) const {
    if (segment.text.find(' ') == std::string::npos) return;
    std::string text;
    std::size_t head = 0;
    for (std::size_t i = 0; i < segment.text.size(); ++i) {
      if (segment.text[i] == ' ')
        text += settings_.replacement;
      else
        text += segment.text[i];
      if (i + 1 == segment.head) head = text.size();
    }
    segment.text = std::move(text);
    segment.head = head;
  }

  MetaspaceSettings settings_;
};

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(const JsonPlace& place) {
    const JsonPlace parts = place.at("pretokenizers");
    if (parts.list().size() > kMaxParts) parts.refuse(fmt::format("more than {} pre-tokenizers", kMaxParts));
    for (std::size_t i = 0; i < parts.list().size(); ++i) parts_.push_back(make_pre_tokenizer(parts.at(i)));
  }

  void apply(std::vector<Segment>& segments) const override {
    for (const auto& part : parts_) part->apply(segments);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

std::unique_ptr<PreTokenizer> make_fixed_length(const JsonPlace& place) {
  const auto given = place.find("length");
  const std::int64_t length = given ? given->integer(1, std::numeric_limits<std::int64_t>::max()) : 5;
  return std::make_unique<Splitter>([length](std::string_view text) { return find_lengths(text, length); },
                                    Delimiter::isolated);
}

std::unique_ptr<PreTokenizer> make_split(const JsonPlace& place) {
  const std::shared_ptr<Pattern> pattern = make_pattern(place.at("pattern"));
  return std::make_unique<Splitter>([pattern](std::string_view text) { return pattern->find(text); },
                                    delimiter_from(place.at("behavior")), place.at("invert").boolean());
}

}  // namespace

MetaspaceSettings metaspace_settings(const JsonPlace& place) {
  using Prepend = MetaspaceSettings::Prepend;
  MetaspaceSettings settings;
  settings.replacement = place.at("replacement").character();
  const std::string scheme = place.text_or("prepend_scheme", "always");
  if (scheme != "always" && scheme != "first" && scheme != "never")
    place.at("prepend_scheme").unsupported(scheme, "always, first, never");
  settings.prepend = scheme == "always" ? Prepend::always : scheme == "first" ? Prepend::first : Prepend::never;
  if (!place.boolean_or("add_prefix_space", true)) {
    if (settings.prepend != Prepend::never) place.refuse("add_prefix_space and prepend_scheme contradict one another");
  }
  settings.split = place.boolean_or("split", true);
  return settings;
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonPlace& place) {
  const std::string& type = place.at("type").text();
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(place);
  if (type == "Metaspace") return std::make_unique<Metaspace>(place);
  if (type == "Whitespace") return std::make_unique<Splitter>(find_words, Delimiter::removed, true);
  if (type == "WhitespaceSplit") return std::make_unique<Splitter>(characters(is_white_space), Delimiter::removed);
  if (type == "Digits")
    return std::make_unique<Splitter>(
        characters(is_numeric), place.at("individual_digits").boolean() ? Delimiter::isolated : Delimiter::contiguous);
  if (type == "Punctuation") {
    const auto behavior = place.find("behavior");
    return std::make_unique<Splitter>(characters(is_punctuation),
                                      behavior ? delimiter_from(*behavior) : Delimiter::isolated);
  }
  if (type == "CharDelimiterSplit") {
    const std::shared_ptr<Pattern> delimiter = make_literal(place.at("delimiter").character());
    return std::make_unique<Splitter>([delimiter](std::string_view text) { return delimiter->find(text); },
                                      Delimiter::removed);
  }
  if (type == "FixedLength") return make_fixed_length(place);
  if (type == "UnicodeScripts") return std::make_unique<Splitter>(find_scripts, Delimiter::isolated);
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "Split") return make_split(place);
  if (type == "Sequence") return std::make_unique<Sequence>(place);
  place.unsupported(type, kSupported);
}

}  // namespace weir
