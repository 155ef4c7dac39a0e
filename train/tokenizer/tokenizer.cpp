#include "train/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/tokenizer/formats.h"

namespace weir {
namespace {

void check_built(bool there, const std::string& what, const std::string& packages) {
  if (!there) throw ArgumentError(fmt::format("{}: this build cannot; install {} and build again", what, packages));
}

// A run or prepared data, of which the tokenizer was meant.
[[noreturn]] void refuse_folder(const std::string& path) {
  const auto holds = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::is_regular_file(std::filesystem::path(path) / name, ignored);
  };
  std::string advice = "there is no tokenizer in it; name a file that ends in .model or .json, or 'bytes'";
  if (holds("config.toml") || holds("dataset.json")) advice = "its tokens are bytes: name 'bytes' instead";
  for (const char* name : {"tokenizer.model", "tokenizer.json"})
    if (holds(name)) advice = "name the tokenizer in it: " + shell_word((std::filesystem::path(path) / name).string());
  throw ArgumentError(fmt::format("tokenizer '{}': this is a folder; {}", printable(path), advice));
}

}  // namespace

void Tokenizer::check_token(std::int32_t token) const {
  if (token < 0 || token >= vocabulary())
    throw ArgumentError(fmt::format("token {} is outside the vocabulary of {}; the tokens belong to another tokenizer",
                                    token, vocabulary()));
}

std::vector<std::int32_t> Tokenizer::encode_counting(std::string_view text, std::int64_t&) const {
  return encode(text);
}

std::vector<std::string> Tokenizer::unknown(std::string_view) const { return {}; }

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

TokenizerFormats& tokenizer_formats() {
  static TokenizerFormats formats;
  return formats;
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path) {
  if (is_byte_tokenizer(path)) return std::make_unique<ByteTokenizer>();
  if (path.ends_with(".model")) {
    const auto open = tokenizer_formats().open_sentencepiece;
    check_built(open != nullptr, "reading SentencePiece models", "libsentencepiece-dev");
    return open(path);
  }
  if (path.ends_with(".json")) {
    const auto open = tokenizer_formats().open_tokenizer_json;
    check_built(open != nullptr, "reading tokenizer.json", "libonig-dev and libutf8proc-dev");
    return open(path);
  }
  if (std::error_code ignored; std::filesystem::is_directory(path, ignored)) refuse_folder(path);
  throw ArgumentError(
      fmt::format("tokenizer '{}': expected 'bytes', a SentencePiece model (a file that ends in .model) "
                  "or a tokenizer.json (one that ends in .json)",
                  printable(path)));
}

std::string train_sentencepiece(const SentencePieceTraining& settings, const NextLine& next_line) {
  const auto train = tokenizer_formats().train_sentencepiece;
  check_built(train != nullptr, "training a SentencePiece model", "libsentencepiece-dev");
  return train(settings, next_line);
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
