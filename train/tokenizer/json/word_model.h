// The models of a tokenizer.json: they turn a word into tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "train/tokenizer/json/document.h"

namespace weir {

class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the tokens of a word that is not empty.
  virtual void encode(std::string_view word, std::vector<std::int32_t>& tokens) const = 0;
  virtual std::int32_t find(std::string_view piece) const = 0;  // -1: not in the vocabulary
  virtual std::size_t entries() const = 0;                      // pieces in the vocabulary
  // Pieces by token, as long as the largest token needs; empty where there is none.
  virtual const std::vector<std::string>& pieces() const = 0;
  virtual std::string name() const = 0;
};

std::unique_ptr<WordModel> make_bpe(const JsonPlace& place);
std::unique_ptr<WordModel> make_unigram(const JsonPlace& place);
std::unique_ptr<WordModel> make_word_model(const JsonPlace& place);

}  // namespace weir
