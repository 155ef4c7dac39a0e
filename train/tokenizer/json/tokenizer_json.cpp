// A tokenizer.json of Hugging Face: normalise, cut into words, turn each word into tokens.
//
// Encoding adds no special tokens (as add_special_tokens=false there), so the post-processor has nothing to do; a text
// is encoded whole, so truncation and padding have no effect. Decoding leaves special tokens out.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/tokenizer/formats.h"
#include "train/tokenizer/json/added_tokens.h"
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
  const JsonPlace version = root.at("version");
  if (version.text() != "1.0") version.refuse(fmt::format("expected '1.0', found '{}'", printable(version.text(), 40)));
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
        decoder_(make_if_there(root, "decoder", make_decoder)) {
    if (const auto post_processor = root.find("post_processor")) check_post_processor(*post_processor);
    collect_pieces(root);
  }

  std::int64_t vocabulary() const override { return static_cast<std::int64_t>(pieces_.size()); }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    if (text.size() > kMaxTextBytes)
      throw ArgumentError(
          fmt::format("a text of {} bytes cannot be encoded at once, at most {} can; "
                      "encode it line by line",
                      text.size(), kMaxTextBytes));
    Segment whole{to_valid_utf8(text)};
    if (!whole.text.empty()) next_code_point(whole.text, whole.head);
    std::vector<Segment> words = added_.extract(std::move(whole), normalizer_.get());
    if (pre_tokenizer_) pre_tokenizer_->apply(words);
    std::vector<std::int32_t> tokens;
    const auto encode_word = [this](std::string_view word, std::vector<std::int32_t>& out) {
      model_->encode(word, out);
    };
    for (const Segment& word : words) {
      if (word.token >= 0)
        tokens.push_back(word.token);
      else if (!word.text.empty())
        cache_.encode(word.text, tokens, encode_word);
    }
    return tokens;
  }

  std::string decode(std::span<const std::int32_t> tokens) const override {
    std::vector<std::string> pieces;
    for (const std::int32_t token : tokens) {
      check_token(token);
      const std::string& piece = pieces_[static_cast<std::size_t>(token)];
      if (!added_.is_special(piece)) pieces.push_back(piece);
    }
    if (!decoder_) return join(pieces, " ");
    decoder_->apply(pieces);
    return join(pieces, "");
  }

  std::string piece(std::int32_t token) const override {
    check_token(token);
    return pieces_[static_cast<std::size_t>(token)];
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
    const auto hole = std::find(pieces_.begin(), pieces_.end(), "");
    if (hole != pieces_.end())
      root.at("model").refuse(
          fmt::format("the ids go up to {}, but no piece has the id {}", pieces_.size() - 1, hole - pieces_.begin()));
  }

  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<WordModel> model_;
  AddedTokens added_;
  std::unique_ptr<Decoder> decoder_;
  std::vector<std::string> pieces_;  // by token
  WordCache cache_;
};

std::unique_ptr<Tokenizer> open(const std::string& path) {
  const JsonValue document = parse_json(path, read_file(path, kMaxFileBytes));
  const JsonPlace root(path, document);
  check_version(root);
  return std::make_unique<JsonTokenizer>(root);
}

const bool registered = set_tokenizer_json_format({open});

}  // namespace
}  // namespace weir
