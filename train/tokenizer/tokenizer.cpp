#include "train/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/tokenizer/formats.h"

namespace weir {
namespace {

SentencePieceFormat& sentencepiece_format() {
  static SentencePieceFormat format;
  return format;
}

TokenizerJsonFormat& tokenizer_json_format() {
  static TokenizerJsonFormat format;
  return format;
}

void check_built(bool there, const std::string& what, const std::string& packages) {
  if (!there) throw ArgumentError(fmt::format("{}: this build cannot; install {} and build again", what, packages));
}

}  // namespace

void Tokenizer::check_token(std::int32_t token) const {
  if (token < 0 || token >= vocabulary())
    throw ArgumentError(fmt::format("token {} is outside the vocabulary of {}; the tokens belong to another tokenizer",
                                    token, vocabulary()));
}

std::vector<std::int32_t> ByteTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> tokens;
  tokens.reserve(text.size());
  for (char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

std::string ByteTokenizer::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  text.reserve(tokens.size());
  for (std::int32_t token : tokens) text += piece(token);
  return text;
}

std::string ByteTokenizer::piece(std::int32_t token) const {
  check_token(token);
  return std::string(1, static_cast<char>(token));
}

bool set_sentencepiece_format(SentencePieceFormat format) {
  sentencepiece_format() = format;
  return true;
}

bool set_tokenizer_json_format(TokenizerJsonFormat format) {
  tokenizer_json_format() = format;
  return true;
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path) {
  if (path == "bytes") return std::make_unique<ByteTokenizer>();
  if (path.ends_with(".model")) {
    check_built(sentencepiece_format().open != nullptr, "reading SentencePiece models", "libsentencepiece-dev");
    return sentencepiece_format().open(path);
  }
  if (path.ends_with(".json")) {
    check_built(tokenizer_json_format().open != nullptr, "reading tokenizer.json", "libpcre2-dev and libutf8proc-dev");
    return tokenizer_json_format().open(path);
  }
  throw ArgumentError(
      fmt::format("tokenizer '{}': expected 'bytes', a SentencePiece model (a file that ends in .model) "
                  "or a tokenizer.json (one that ends in .json)",
                  printable(path)));
}

std::string train_sentencepiece(const SentencePieceTraining& settings, const NextLine& next_line) {
  check_built(sentencepiece_format().train != nullptr, "training a SentencePiece model", "libsentencepiece-dev");
  return sentencepiece_format().train(settings, next_line);
}

std::string train_sentencepiece(const SentencePieceTraining& settings, std::span<const std::string> files) {
  std::unique_ptr<MappedFile> file;
  std::string_view rest;
  return train_sentencepiece(settings, [&, next = files.begin()](std::string& line) mutable {
    while (rest.empty()) {
      if (next == files.end()) return false;
      file = std::make_unique<MappedFile>(*next++);
      rest = {reinterpret_cast<const char*>(file->bytes().data()), file->size()};
    }
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return true;
  });
}

}  // namespace weir
