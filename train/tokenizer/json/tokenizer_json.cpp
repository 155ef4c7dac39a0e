// A tokenizer.json of Hugging Face: normalise, cut into words, turn each word into tokens.
//
// Encoding adds no special tokens (as add_special_tokens=false there), so the post-processor has nothing to do; a text
// is encoded whole, so truncation and padding have no effect. Decoding leaves special tokens out.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/tokenizer/formats.h"
#include "train/tokenizer/json/added_tokens.h"
#include "train/tokenizer/json/byte_level.h"
#include "train/tokenizer/json/decoder.h"
#include "train/tokenizer/json/document.h"
#include "train/tokenizer/json/normalizer.h"
#include "train/tokenizer/json/pre_tokenizer.h"
#include "train/tokenizer/json/unicode.h"
#include "train/tokenizer/json/word_cache.h"
#include "train/tokenizer/json/word_model.h"

namespace weir {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{64} << 20;
constexpr std::size_t kMaxTextBytes = std::size_t{64} << 20;

// They add special tokens or move offsets, neither of which is asked for here.
void check_post_processor(const JsonPlace& place) {
  constexpr std::array<std::string_view, 5> kHarmless{"ByteLevel", "TemplateProcessing", "BertProcessing",
                                                      "RobertaProcessing", "Sequence"};
  const std::string& type = place.at("type").text();
  if (std::find(kHarmless.begin(), kHarmless.end(), type) == kHarmless.end())
    place.unsupported(type, "ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing, Sequence");
  if (type != "Sequence") return;
  const JsonPlace parts = place.at("processors");
  for (std::size_t i = 0; i < parts.list().size(); ++i) check_post_processor(parts.at(i));
}

void check_version(const JsonPlace& root) {
  const auto version = root.find("version");
  if (version && version->text() != "1.0")
    version->refuse(fmt::format("expected '1.0', found '{}'", printable(version->text(), 40)));
}

// Whether a normalizer or pre_tokenizer, or one of a sequence, is ByteLevel.
bool is_byte_level(const std::optional<JsonPlace>& place) {
  if (!place) return false;
  if (place->at("type").text() == "ByteLevel") return true;
  for (const char* key : {"normalizers", "pretokenizers"})
    if (const auto parts = place->find(key))
      for (std::size_t i = 0; i < parts->list().size(); ++i)
        if (is_byte_level(parts->at(i))) return true;
  return false;
}

template <class Part>
std::unique_ptr<Part> make_if_there(const JsonPlace& root, const char* key,
                                    std::unique_ptr<Part> (*make)(const JsonPlace&)) {
  const auto place = root.find(key);
  return place ? make(*place) : nullptr;
}

class JsonTokenizer final : public Tokenizer {
 public:
  explicit JsonTokenizer(const JsonPlace& root)
      : normalizer_(make_if_there(root, "normalizer", make_normalizer)),
        pre_tokenizer_(make_if_there(root, "pre_tokenizer", make_pre_tokenizer)),
        model_(make_word_model(root.at("model"))),
        added_(root.find("added_tokens"), *model_, normalizer_.get()),
        decoder_(make_if_there(root, "decoder", make_decoder)),
        byte_level_(is_byte_level(root.find("normalizer")) || is_byte_level(root.find("pre_tokenizer"))) {
    if (const auto post_processor = root.find("post_processor")) check_post_processor(*post_processor);
    collect_pieces(root);
  }

  std::int64_t vocabulary() const override { return static_cast<std::int64_t>(pieces_.size()); }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::int64_t ignored = 0;
    return encode_counting(text, ignored);
  }

  std::vector<std::int32_t> encode_counting(std::string_view text, std::int64_t& unknown_bytes) const override {
    std::vector<std::int32_t> tokens;
    std::int64_t unknown = 0;
    const auto encode_word = [this](std::string_view word, std::vector<std::int32_t>& out) {
      const std::int64_t bytes = model_->encode(word, out);
      return bytes > 0 && byte_level_ ? unknown_of_byte_level(word) : bytes;
    };
    const std::vector<Segment> words = words_of(text);
    tokens.reserve(words.size() + words.size() / 4);
    for (const Segment& word : words) {
      if (word.token >= 0)
        tokens.push_back(word.token);
      else if (!word.text.empty())
        unknown += cache_.encode(word.text, tokens, encode_word);
    }
    unknown_bytes += std::min(unknown, std::ssize(text));  // what is normalised may have more bytes
    return tokens;
  }

  std::vector<std::string> unknown(std::string_view text) const override {
    std::vector<std::string> found;
    for (const Segment& word : words_of(text))
      if (word.token < 0 && !word.text.empty()) model_->find_unknown(word.text, found);
    return found;
  }

  std::string decode(std::span<const std::int32_t> tokens) const override {
    std::vector<std::string> pieces;
    for (const std::int32_t token : tokens) {
      check_token(token);
      const auto& piece = pieces_[static_cast<std::size_t>(token)];
      if (piece && !added_.is_special(*piece)) pieces.push_back(*piece);
    }
    if (!decoder_) return join(pieces, " ");
    decoder_->apply(pieces);
    return join(pieces, "");
  }

  std::string piece(std::int32_t token) const override {
    check_token(token);
    return pieces_[static_cast<std::size_t>(token)].value_or("");
  }

  std::string describe() const override {
    return fmt::format("tokenizer.json, {}, {} pieces", model_->name(), vocabulary());
  }

 private:
  void collect_pieces(const JsonPlace& root) {
    pieces_ = model_->pieces();
    for (const auto& [token, piece] : added_.pieces()) {
      if (static_cast<std::size_t>(token) >= pieces_.size()) pieces_.resize(static_cast<std::size_t>(token) + 1);
      pieces_[static_cast<std::size_t>(token)] = piece;
    }
    if (pieces_.empty()) root.at("model").refuse("the vocabulary is empty");
  }

  std::int64_t unknown_of_byte_level(std::string_view word) const {
    std::vector<std::string> parts;
    model_->find_unknown(word, parts);
    std::int64_t bytes = 0;
    for (const std::string& part : parts) bytes += std::ssize(from_byte_level(part).value_or(part));
    return bytes;
  }

  std::vector<Segment> words_of(std::string_view text) const {
    if (text.size() > kMaxTextBytes)
      throw ArgumentError(
          fmt::format("a text of {} bytes cannot be encoded at once, at most {} can; "
                      "encode it line by line",
                      text.size(), kMaxTextBytes));
    Segment whole{to_valid_utf8(text)};
    if (!whole.text.empty()) next_code_point(whole.text, whole.head);
    std::vector<Segment> words = added_.extract(std::move(whole), normalizer_.get());
    if (pre_tokenizer_) pre_tokenizer_->apply(words);
    return words;
  }

  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<WordModel> model_;
  AddedTokens added_;
  std::unique_ptr<Decoder> decoder_;
  bool byte_level_;  // a character of a word is a byte of the text
  Pieces pieces_;
  WordCache cache_;
};

std::unique_ptr<Tokenizer> open(const std::string& path) {
  const JsonValue document = parse_document(path, read_file(path, kMaxFileBytes));
  const JsonPlace root(path, document);
  check_version(root);
  return std::make_unique<JsonTokenizer>(root);
}

const bool registered = (tokenizer_formats().open_tokenizer_json = open) != nullptr;

}  // namespace
}  // namespace weir
