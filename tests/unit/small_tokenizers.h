// Small tokenizer.json files for tests, and what they make of texts.
#pragma once

#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/unit/temporary_directory.h"
#include "train/tokenizer/tokenizer.h"

namespace weir::tests {

using Json = nlohmann::json;

inline std::unique_ptr<Tokenizer> open_text(const std::string& text) {
  const TemporaryDirectory directory;
  const std::string path = directory / "t.json";
  std::ofstream(path, std::ios::binary) << text;
  return open_tokenizer(path);
}

inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// The message of a refusal behind the path.
inline std::string open_error(const std::string& text) {
  const std::string message = error_of([&] { open_text(text); });
  const std::size_t at = message.find("/t.json: ");
  return at == std::string::npos ? message : message.substr(at + 9);
}

inline const std::string kDamaged = "; the file is damaged or not a tokenizer.json: fetch or export it again";

// "hello" and "hell" from merges; a and b are known characters.
inline Json bpe() {
  return {
      {"version", "1.0"},
      {"model",
       {{"type", "BPE"},
        {"unk_token", nullptr},
        {"vocab",
         {{"h", 0}, {"e", 1}, {"l", 2}, {"o", 3}, {"he", 4}, {"ll", 5}, {"hell", 6}, {"hello", 7}, {"a", 8}, {"b", 9}}},
        {"merges", Json::array({Json::array({"h", "e"}), Json::array({"l", "l"}), "he ll", "hell o"})}}}};
}

inline Json unigram() {
  return {
      {"version", "1.0"},
      {"model",
       {{"type", "Unigram"},
        {"unk_id", 0},
        {"vocab", Json::array({Json::array({"<unk>", 0}), Json::array({"a", -1.5}), Json::array({"b", -1.0}),
                               Json::array({"ab", -2.0}), Json::array({"abb", -4.0}), Json::array({"▁", -1.0})})}}}};
}

inline Json with(Json file, const std::string& key, const Json& value) {
  file[Json::json_pointer(key)] = value;
  return file;
}

inline std::vector<std::int32_t> encode(const Json& file, const std::string& text) {
  return open_text(file.dump())->encode(text);
}

inline std::string pieces(const Json& file, const std::string& text) {
  const auto tokenizer = open_text(file.dump());
  std::string result;
  for (const std::int32_t token : tokenizer->encode(text)) result += tokenizer->piece(token) + "|";
  return result;
}

// What the normalizers and pre-tokenizers make of a text: a model without merges that knows every character by itself
// shows words only by what added tokens and unigram pieces cannot join, so words are counted with a suffix instead.
inline std::string words(const Json& pre_tokenizer, const std::string& text, const Json& normalizer = nullptr) {
  Json vocabulary;
  std::int32_t next = 0;
  const auto add = [&](const std::string& piece) {
    if (!vocabulary.contains(piece)) vocabulary[piece] = next++;
  };
  for (std::uint32_t i = 1; i < 0x3110; ++i) {
    const std::uint32_t c = i < 0x3100 ? i : 0x65e0 + i - 0x3100;  // and some Chinese ones
    std::string character;
    if (c < 0x80) {
      character = static_cast<char>(c);
    } else if (c < 0x800) {
      character = {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
    } else {
      character = {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3f)),
                   static_cast<char>(0x80 | (c & 0x3f))};
    }
    add(character);
    add(character + "<>");
  }
  const Json file{
      {"version", "1.0"},
      {"normalizer", normalizer},
      {"pre_tokenizer", pre_tokenizer},
      {"decoder", {{"type", "BPEDecoder"}, {"suffix", "<>"}}},
      {"model", {{"type", "BPE"}, {"end_of_word_suffix", "<>"}, {"vocab", vocabulary}, {"merges", Json::array()}}}};
  const auto tokenizer = open_text(file.dump());
  std::string result;
  for (const std::int32_t token : tokenizer->encode(text)) {
    std::string piece = tokenizer->piece(token);
    if (piece.ends_with("<>")) piece.replace(piece.size() - 2, 2, "|");
    result += piece;
  }
  return result;
}

inline std::string normalized(const Json& normalizer, const std::string& text) {
  const std::string result = words(nullptr, text, normalizer);
  return result.substr(0, result.size() - (result.empty() ? 0 : 1));
}

inline Json sequence(const char* key, const std::vector<Json>& parts) { return {{"type", "Sequence"}, {key, parts}}; }

}  // namespace weir::tests
