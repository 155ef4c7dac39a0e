// What reads the tokenizer files. Each of the two needs libraries that a build can lack, so their sources put
// themselves in, and open_tokenizer finds out at run time what is there.
#pragma once

#include <memory>
#include <string>

#include "train/tokenizer/sentencepiece.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {

struct SentencePieceFormat {
  std::unique_ptr<Tokenizer> (*open)(const std::string& path) = nullptr;
  std::string (*train)(const SentencePieceTraining& settings, const NextLine& next_line) = nullptr;
};

struct TokenizerJsonFormat {
  std::unique_ptr<Tokenizer> (*open)(const std::string& path) = nullptr;
};

// For initialisers of namespace-scope constants.
bool set_sentencepiece_format(SentencePieceFormat format);
bool set_tokenizer_json_format(TokenizerJsonFormat format);

}  // namespace weir
