// The models of a tokenizer.json: they turn a word into tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "train/tokenizer/json/document.h"
#include "train/tokenizer/json/vocabulary.h"

namespace weir {

class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the tokens of a word that is not empty. Returns how many of its bytes have no token.
  virtual std::int64_t encode(std::string_view word, std::vector<std::int32_t>& tokens) const = 0;
  // Appends what of the word has no token and so becomes the unknown one, or nothing.
  virtual void find_unknown(std::string_view word, std::vector<std::string>& unknown) const = 0;
  virtual std::int32_t find(std::string_view piece) const = 0;  // -1: not in the vocabulary
  virtual std::size_t entries() const = 0;                      // pieces in the vocabulary
  virtual const Pieces& pieces() const = 0;
  virtual std::string name() const = 0;
};

std::unique_ptr<WordModel> make_bpe(const JsonPlace& place);
std::unique_ptr<WordModel> make_unigram(const JsonPlace& place);
std::unique_ptr<WordModel> make_word_piece(const JsonPlace& place);
std::unique_ptr<WordModel> make_word_level(const JsonPlace& place);
std::unique_ptr<WordModel> make_word_model(const JsonPlace& place);

}  // namespace weir
