// Training a SentencePiece model. Models are opened with open_tokenizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace weir {

constexpr std::size_t kLongestTrainingLine = 4192;  // bytes: the library's trainer leaves longer ones out

// As in the experiments of the paper: everything that is not named here is the library's default.
struct SentencePieceTraining {
  std::string model_type = "bpe";  // or unigram
  std::int64_t vocabulary = 8000;  // pieces, with <unk>, <s> and </s>
  bool split_digits = true;        // every digit is a piece of its own
  // Blanks stay as they are; line ends, tabs, and the characters of <unk>, <s> and </s> have tokens. The library's
  // defaults lose them: extra blanks are removed, and what looks like <unk> in a text is not trained on.
  bool keep_layout = false;
};

// Puts the next line, without its end, into `line`; false after the last.
using NextLine = std::function<bool(std::string& line)>;

// The contents of the .model file. The same lines give the same bytes. Keeps all lines in memory; longer lines than
// kLongestTrainingLine take no part.
std::string train_sentencepiece(const SentencePieceTraining& settings, const NextLine& next_line);
std::string train_sentencepiece(const SentencePieceTraining& settings, std::span<const std::string> files);

}  // namespace weir
