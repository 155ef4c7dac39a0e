// What reads the tokenizer files, and trains them. This needs libraries that a build can lack, so the sources put
// themselves in, and open_tokenizer finds out at run time what is there.
#pragma once

#include <memory>
#include <string>

#include "train/tokenizer/sentencepiece.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {

struct TokenizerFormats {
  std::unique_ptr<Tokenizer> (*open_sentencepiece)(const std::string& path) = nullptr;
  std::string (*train_sentencepiece)(const SentencePieceTraining& settings, const NextLine& next_line) = nullptr;
  std::unique_ptr<Tokenizer> (*open_tokenizer_json)(const std::string& path) = nullptr;
};

// For initialisers of namespace-scope constants.
TokenizerFormats& tokenizer_formats();

}  // namespace weir
