#include "train/tokenizer/json/normalizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "train/tokenizer/charsmap.h"
#include "train/tokenizer/json/base64.h"
#include "train/tokenizer/json/byte_level.h"
#include "train/tokenizer/json/pattern.h"
#include "train/tokenizer/json/unicode.h"

namespace weir {
namespace {

constexpr std::size_t kMaxText = 4096;  // bytes of a text to insert
constexpr std::size_t kMaxParts = 64;   // of a sequence
constexpr const char* kSupported =
    "NFC, NFD, NFKC, NFKD, Nmt, BertNormalizer, Lowercase, StripAccents, Strip, Replace, Prepend, Precompiled, "
    "ByteLevel, "
    "Sequence";

// The text changed; what became of its first character has `head` bytes, or more where others joined it.
void put(Segment& segment, std::string text, std::size_t head) {
  std::size_t first = 0;
  if (!text.empty()) next_code_point(text, first);
  if (segment.head > 0) segment.head = std::max(first, std::min(head, text.size()));
  segment.text = std::move(text);
}

// A text to text function that keeps the first character in its place.
class Mapping final : public Normalizer {
 public:
  explicit Mapping(std::function<std::string(std::string_view)> map) : map_(std::move(map)) {}
  void apply(Segment& segment) const override {
    const std::size_t head =
        segment.head == 0 ? 0 : map_(std::string_view(segment.text).substr(0, segment.head)).size();
    put(segment, map_(segment.text), head);
  }

 private:
  std::function<std::string(std::string_view)> map_;
};

// Keeps the characters that satisfy a condition.
class Filter final : public Normalizer {
 public:
  explicit Filter(bool (*keep)(std::uint32_t)) : keep_(keep) {}

  void apply(Segment& segment) const override {
    std::string kept;
    std::size_t head = 0;
    for (std::size_t at = 0; at < segment.text.size();) {
      const std::size_t begin = at;
      if (!keep_(next_code_point(segment.text, at))) continue;
      kept += std::string_view(segment.text).substr(begin, at - begin);
      if (at <= segment.head) head = kept.size();
    }
    segment.head = head;
    segment.text = std::move(kept);
  }

 private:
  bool (*keep_)(std::uint32_t);
};

class Strip final : public Normalizer {
 public:
  explicit Strip(const JsonPlace& place)
      : left_(place.at("strip_left").boolean()), right_(place.at("strip_right").boolean()) {}

  void apply(Segment& segment) const override {
    std::size_t begin = 0, end = segment.text.size();
    for (std::size_t at = 0; left_ && at < end && is_white_space(next_code_point(segment.text, at));) begin = at;
    while (right_ && end > begin) {
      std::size_t last = end - 1;
      while ((segment.text[last] & 0xc0) == 0x80) --last;
      std::size_t at = last;
      if (!is_white_space(next_code_point(segment.text, at))) break;
      end = last;
    }
    segment.text = segment.text.substr(begin, end - begin);
    segment.head = std::min(segment.head - std::min(begin, segment.head), segment.text.size());
  }

 private:
  bool left_, right_;
};

class Replace final : public Normalizer {
 public:
  explicit Replace(const JsonPlace& place)
      : pattern_(make_pattern(place.at("pattern"))), content_(place.at("content").text()) {
    if (content_.size() > kMaxText) place.refuse(fmt::format("content has more than {} bytes", kMaxText));
  }

  void apply(Segment& segment) const override {
    std::string text;
    std::size_t head = 0;
    for (const Span& span : pattern_->find(segment.text)) {
      append_bounded(text, span.match ? std::string_view(content_)
                                      : std::string_view(segment.text).substr(span.begin, span.end - span.begin));
      // What is inserted counts to the character before the end of the match.
      if (span.end <= segment.head) head = text.size();
      if (!span.match && span.begin < segment.head && span.end > segment.head)
        head = text.size() - (span.end - segment.head);
    }
    segment.text = std::move(text);
    segment.head = head;
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(const JsonPlace& place) : text_(place.at("prepend").text()) {
    if (text_.size() > kMaxText) place.refuse(fmt::format("prepend has more than {} bytes", kMaxText));
  }

  void apply(Segment& segment) const override {
    if (segment.text.empty()) return;
    append_bounded(segment.text, text_);
    std::rotate(segment.text.begin(), segment.text.end() - static_cast<std::ptrdiff_t>(text_.size()),
                segment.text.end());
    if (segment.head > 0) segment.head += text_.size();
  }

 private:
  std::string text_;
};

// SentencePiece's replacements, as the reference applies them: a grapheme cluster of less than six bytes gives way as a
// whole to the replacement of the shortest key that it begins with; in others, each character to its own.
class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(const JsonPlace& place)
      : map_(place.where(), decode_base64(place.at("precompiled_charsmap"), Charsmap::kMaxBytes)) {}

  void apply(Segment& segment) const override {
    const std::string_view text = segment.text;
    std::string mapped;
    std::size_t head = 0;
    for (std::size_t at = 0; at < text.size();) {
      const std::string_view cluster = text.substr(at, grapheme_end(text, at) - at);
      at += cluster.size();
      if (const auto whole = cluster.size() < 6 ? map_.shortest_match(cluster) : std::nullopt) {
        append_bounded(mapped, *whole);
        if (head == 0 && is_one_character(cluster)) head = mapped.size();
        if (head == 0 && !mapped.empty()) head = 1;
        continue;
      }
      for (std::size_t within = 0; within < cluster.size();) {
        const std::size_t begin = within;
        next_code_point(cluster, within);
        const std::string_view character = cluster.substr(begin, within - begin);
        append_bounded(mapped, map_.shortest_match(character).value_or(character));
        if (head == 0) head = mapped.size();
      }
    }
    put(segment, std::move(mapped), head);
  }

 private:
  static bool is_one_character(std::string_view text) {
    std::size_t at = 0;
    next_code_point(text, at);
    return at == text.size();
  }

  Charsmap map_;
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(const JsonPlace& place) {
    const JsonPlace parts = place.at("normalizers");
    if (parts.list().size() > kMaxParts) parts.refuse(fmt::format("more than {} normalizers", kMaxParts));
    for (std::size_t i = 0; i < parts.list().size(); ++i) parts_.push_back(make_normalizer(parts.at(i)));
  }

  void apply(Segment& segment) const override {
    for (const auto& part : parts_) part->apply(segment);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

std::string lowercase(std::string_view text) {
  std::string lower;
  for (std::size_t at = 0; at < text.size();) append_lowercase(lower, next_code_point(text, at));
  return lower;
}

// SentencePiece's cleaning for translation: control characters vanish, what looks like nothing becomes a space.
bool survives_nmt(std::uint32_t c) {
  return !((c >= 0x1 && c <= 0x8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f);
}

std::string nmt_spaces(std::string_view text) {
  constexpr std::array<std::uint32_t, 9> kSpaces{0x9, 0xa, 0xc, 0xd, 0x1680, 0x2028, 0x2029, 0x2581, 0xfeff};
  std::string spaced;
  for (std::size_t at = 0; at < text.size();) {
    const std::uint32_t c = next_code_point(text, at);
    const bool space =
        (c >= 0x200b && c <= 0x200f) || c == 0xfffd || std::find(kSpaces.begin(), kSpaces.end(), c) != kSpaces.end();
    append_code_point(spaced, space ? ' ' : c);
  }
  return spaced;
}

class Nmt final : public Normalizer {
 public:
  void apply(Segment& segment) const override {
    Filter(survives_nmt).apply(segment);
    put(segment, nmt_spaces(segment.text), 0);
  }
};

std::unique_ptr<Normalizer> normal_form(NormalForm form) {
  return std::make_unique<Mapping>([form](std::string_view text) { return normalize(text, form); });
}

bool survives_bert(std::uint32_t c) {
  return c == '\t' || c == '\n' || c == '\r' || !(c == 0 || c == 0xfffd || is_control(c));
}

std::string bert_spaces(std::string_view text) {
  std::string spaced;
  for (std::size_t at = 0; at < text.size();) {
    const std::uint32_t c = next_code_point(text, at);
    append_code_point(spaced, is_white_space(c) ? ' ' : c);
  }
  return spaced;
}

// As BERT has it: some blocks of ideographs, with a gap.
bool is_chinese(std::uint32_t c) {
  constexpr std::array<std::pair<std::uint32_t, std::uint32_t>, 7> kBlocks{{{0x3400, 0x4dbf},
                                                                            {0x4e00, 0x9fff},
                                                                            {0xf900, 0xfaff},
                                                                            {0x20000, 0x2a6df},
                                                                            {0x2a700, 0x2b81f},
                                                                            {0x2b920, 0x2ceaf},
                                                                            {0x2f800, 0x2fa1f}}};
  return std::any_of(kBlocks.begin(), kBlocks.end(),
                     [c](const auto& block) { return c >= block.first && c <= block.second; });
}

std::string space_chinese(std::string_view text) {
  std::string spaced;
  for (std::size_t at = 0; at < text.size();) {
    const std::uint32_t c = next_code_point(text, at);
    const char* const space = is_chinese(c) ? " " : "";
    spaced += space;
    append_code_point(spaced, c);
    spaced += space;
  }
  return spaced;
}

class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(const JsonPlace& place) {
    const bool lower = place.at("lowercase").boolean();
    if (place.at("clean_text").boolean()) {
      parts_.push_back(std::make_unique<Filter>(survives_bert));
      parts_.push_back(std::make_unique<Mapping>(bert_spaces));
    }
    if (place.at("handle_chinese_chars").boolean()) parts_.push_back(std::make_unique<Mapping>(space_chinese));
    if (place.boolean_or("strip_accents", lower)) {
      parts_.push_back(normal_form(NormalForm::nfd));
      parts_.push_back(std::make_unique<Filter>([](std::uint32_t c) { return !is_nonspacing_mark(c); }));
    }
    if (lower) parts_.push_back(std::make_unique<Mapping>(lowercase));
  }

  void apply(Segment& segment) const override {
    for (const auto& part : parts_) part->apply(segment);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const JsonPlace& place) {
  const std::string& type = place.at("type").text();
  if (type == "NFC") return normal_form(NormalForm::nfc);
  if (type == "NFD") return normal_form(NormalForm::nfd);
  if (type == "NFKC") return normal_form(NormalForm::nfkc);
  if (type == "NFKD") return normal_form(NormalForm::nfkd);
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "BertNormalizer") return std::make_unique<BertNormalizer>(place);
  if (type == "Lowercase") return std::make_unique<Mapping>(lowercase);
  if (type == "StripAccents") return std::make_unique<Filter>([](std::uint32_t c) { return !is_combining_mark(c); });
  if (type == "Strip") return std::make_unique<Strip>(place);
  if (type == "Replace") return std::make_unique<Replace>(place);
  if (type == "Prepend") return std::make_unique<Prepend>(place);
  if (type == "Precompiled") return std::make_unique<Precompiled>(place);
  if (type == "ByteLevel") return std::make_unique<Mapping>(to_byte_level);
  if (type == "Sequence") return std::make_unique<Sequence>(place);
  place.unsupported(type, kSupported);
}

}  // namespace weir
