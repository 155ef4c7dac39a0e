#include "train/tokenizer/json/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "core/text.h"
#include "train/tokenizer/json/byte_level.h"
#include "train/tokenizer/json/pattern.h"
#include "train/tokenizer/json/pre_tokenizer.h"
#include "train/tokenizer/json/segment.h"
#include "train/tokenizer/json/unicode.h"

namespace weir {
namespace {

constexpr std::size_t kMaxText = 4096;  // bytes of a text to insert
constexpr std::size_t kMaxParts = 64;   // of a sequence
constexpr const char* kSupported =
    "ByteLevel, Metaspace, ByteFallback, Fuse, Replace, Strip, BPEDecoder, WordPiece, CTC, Sequence";

std::string joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) append_bounded(text, piece);
  return text;
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t found = std::min(text.find(from, at), text.size());
    result += text.substr(at, found - at);
    if (found == text.size()) break;
    result += to;
    at = found + from.size();
  }
  return result;
}

class ByteLevel final : public Decoder {
 public:
  void apply(std::vector<std::string>& pieces) const override {
    std::string bytes;
    for (const std::string& piece : pieces) bytes += from_byte_level(piece).value_or(piece);
    pieces.assign(1, to_valid_utf8(bytes));
  }
};

class Metaspace final : public Decoder {
 public:
  explicit Metaspace(const JsonPlace& place) : settings_(metaspace_settings(place)) {}

  void apply(std::vector<std::string>& pieces) const override {
    const bool first_vanishes = settings_.prepend != MetaspaceSettings::Prepend::never;
    for (std::size_t i = 0; i < pieces.size(); ++i)
      pieces[i] = replaced(pieces[i], settings_.replacement, i == 0 && first_vanishes ? "" : " ");
  }

 private:
  MetaspaceSettings settings_;
};

// <0x0A> and its like are bytes. A run of them that is no UTF-8 becomes one U+FFFD per byte.
class ByteFallback final : public Decoder {
 public:
  void apply(std::vector<std::string>& pieces) const override {
    std::vector<std::string> result;
    std::string bytes;
    const auto flush = [&] {
      if (is_utf8(bytes))
        result.push_back(bytes);
      else
        result.insert(result.end(), bytes.size(), "\xef\xbf\xbd");
      bytes.clear();
    };
    for (std::string& piece : pieces) {
      if (const std::optional<char> byte = byte_of(piece)) {
        bytes += *byte;
        continue;
      }
      if (!bytes.empty()) flush();
      result.push_back(std::move(piece));
    }
    if (!bytes.empty()) flush();
    pieces = std::move(result);
  }

 private:
  static std::optional<char> byte_of(std::string_view piece) {
    if (piece.size() != 6 || !piece.starts_with("<0x") || !piece.ends_with('>')) return std::nullopt;
    int value = 0;
    for (const char c : piece.substr(3, 2)) {
      const std::size_t digit =
          std::string_view("0123456789abcdef").find(static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c));
      if (digit == std::string_view::npos) return std::nullopt;
      value = value * 16 + static_cast<int>(digit);
    }
    return static_cast<char>(value);
  }
};

class Fuse final : public Decoder {
 public:
  void apply(std::vector<std::string>& pieces) const override { pieces.assign(1, joined(pieces)); }
};

class Replace final : public Decoder {
 public:
  explicit Replace(const JsonPlace& place)
      : pattern_(make_pattern(place.at("pattern"))), content_(place.at("content").text()) {
    if (content_.size() > kMaxText) place.refuse(fmt::format("content has more than {} bytes", kMaxText));
  }

  void apply(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) {
      std::string result;
      for (const Span& span : pattern_->find(piece))
        append_bounded(result, span.match ? std::string_view(content_)
                                          : std::string_view(piece).substr(span.begin, span.end - span.begin));
      piece = std::move(result);
    }
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

// Takes up to `start` times the character from the front of each piece, and up to `stop` times from its end.
class Strip final : public Decoder {
 public:
  explicit Strip(const JsonPlace& place)
      : content_(place.at("content").character()),
        start_(place.at("start").integer(0, std::numeric_limits<std::int32_t>::max())),
        stop_(place.at("stop").integer(0, std::numeric_limits<std::int32_t>::max())) {}

  void apply(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) {
      std::string_view rest = piece;
      for (std::int64_t i = 0; i < start_ && rest.starts_with(content_); ++i) rest.remove_prefix(content_.size());
      for (std::int64_t i = 0; i < stop_ && rest.ends_with(content_); ++i) rest.remove_suffix(content_.size());
      piece = std::string(rest);
    }
  }

 private:
  std::string content_;
  std::int64_t start_, stop_;
};

// A suffix marks the end of a word: it becomes a space, and nothing at the very end.
class BpeSuffix final : public Decoder {
 public:
  explicit BpeSuffix(const JsonPlace& place) : suffix_(place.at("suffix").text()) {
    if (suffix_.empty()) place.at("suffix").refuse("it is empty");
  }

  void apply(std::vector<std::string>& pieces) const override {
    for (std::size_t i = 0; i < pieces.size(); ++i)
      pieces[i] = replaced(pieces[i], suffix_, i + 1 == pieces.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

// English as it is printed: no space before a sign, none within a contraction.
std::string cleaned(std::string text) {
  using Pair = std::pair<std::string_view, std::string_view>;
  constexpr std::array<Pair, 11> kReplacements{Pair{" .", "."}, {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                               {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                               {" 's", "'s"},   {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplacements) text = replaced(text, from, to);
  return text;
}

// Pieces are words, but for those with the prefix.
class WordPiece final : public Decoder {
 public:
  explicit WordPiece(const JsonPlace& place)
      : prefix_(place.at("prefix").text()), cleanup_(place.at("cleanup").boolean()) {}

  void apply(std::vector<std::string>& pieces) const override {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (i > 0) pieces[i] = pieces[i].starts_with(prefix_) ? pieces[i].substr(prefix_.size()) : " " + pieces[i];
      if (cleanup_) pieces[i] = cleaned(std::move(pieces[i]));
    }
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

// Of a recogniser that says its piece again for as long as it is heard, and another piece between two equal ones.
class Ctc final : public Decoder {
 public:
  explicit Ctc(const JsonPlace& place)
      : pad_(place.at("pad_token").text()),
        space_(place.at("word_delimiter_token").text()),
        cleanup_(place.at("cleanup").boolean()) {}

  void apply(std::vector<std::string>& pieces) const override {
    pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
    for (std::string& piece : pieces) {
      piece = replaced(piece, pad_, "");
      if (cleanup_) piece = replaced(cleaned(std::move(piece)), space_, " ");
    }
    std::erase(pieces, "");
  }

 private:
  std::string pad_, space_;
  bool cleanup_;
};

class Sequence final : public Decoder {
 public:
  explicit Sequence(const JsonPlace& place) {
    const JsonPlace parts = place.at("decoders");
    if (parts.list().size() > kMaxParts) parts.refuse(fmt::format("more than {} decoders", kMaxParts));
    for (std::size_t i = 0; i < parts.list().size(); ++i) parts_.push_back(make_decoder(parts.at(i)));
  }

  void apply(std::vector<std::string>& pieces) const override {
    for (const auto& part : parts_) part->apply(pieces);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(const JsonPlace& place) {
  const std::string& type = place.at("type").text();
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Metaspace") return std::make_unique<Metaspace>(place);
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Replace") return std::make_unique<Replace>(place);
  if (type == "Strip") return std::make_unique<Strip>(place);
  if (type == "BPEDecoder") return std::make_unique<BpeSuffix>(place);
  if (type == "WordPiece") return std::make_unique<WordPiece>(place);
  if (type == "CTC") return std::make_unique<Ctc>(place);
  if (type == "Sequence") return std::make_unique<Sequence>(place);
  place.unsupported(type, kSupported);
}

}  // namespace weir
