// Bytes as tokens, and which files open_tokenizer takes.
#include "train/tokenizer/tokenizer.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "tests/unit/temporary_directory.h"

using namespace weir;

namespace {

std::string open_error(const std::string& path) {
  try {
    open_tokenizer(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("tokenizer: bytes are tokens") {
  const auto tokenizer = open_tokenizer("bytes");
  CHECK(tokenizer->vocabulary() == 256);
  CHECK(tokenizer->describe() == "bytes");
  const std::string text("a\xff\0\xc3\xa9", 5);
  CHECK(tokenizer->encode(text) == std::vector<std::int32_t>{97, 255, 0, 195, 169});
  CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
  CHECK(tokenizer->unknown(text).empty());
  CHECK(tokenizer->piece(97) == "a");
  CHECK_THROWS_WITH_AS(tokenizer->decode(std::vector{256}),
                       "token 256 is outside the vocabulary of 256; the tokens belong to another tokenizer",
                       ArgumentError);
  CHECK_THROWS_AS(tokenizer->piece(-1), ArgumentError);
}

TEST_CASE("tokenizer: what cannot be opened is named") {
  const TemporaryDirectory directory;
  CHECK(
      open_error("word.txt") ==
      "tokenizer 'word.txt': expected 'bytes', a SentencePiece model (a file that ends in .model) or a tokenizer.json "
      "(one that ends in .json)");
  for (const char* name : {"none.model", "none.json"}) {
    const std::string message = open_error(directory / name);
    const bool named = message.find("none.") != std::string::npos && message.find("cannot open") != std::string::npos;
    const bool absent = message.find("this build cannot; install ") != std::string::npos;
    CHECK_MESSAGE((named || absent), message);
  }
}
