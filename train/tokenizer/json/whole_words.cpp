// The models that know words, not only what words are made of: WordPiece, which takes a word apart into the longest
// pieces it knows, and WordLevel, which does not. What they do not know becomes the unknown token as a whole.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/text.h"
#include "train/tokenizer/json/trie.h"
#include "train/tokenizer/json/word_model.h"

namespace weir {
namespace {

class WholeWords : public WordModel {
 public:
  explicit WholeWords(const JsonPlace& place)
      : where_(place.where()), vocabulary_(place.at("vocab")), unknown_(place.at("unk_token").text()) {}

  std::int64_t encode(std::string_view word, std::vector<std::int32_t>& tokens) const override {
    const std::size_t before = tokens.size();
    if (add(word, tokens)) return 0;
    tokens.resize(before);
    const std::int32_t unknown = vocabulary_.find(unknown_);
    if (unknown < 0)
      throw RunError(
          ExitCode::bad_data,
          fmt::format("{}: the word {} is not in the vocabulary, nor is unk_token, '{}'; use a tokenizer made "
                      "for such text",
                      where_, quote_short(word), printable(unknown_, 40)));
    tokens.push_back(unknown);
    constexpr std::string_view kBlank = "▁";  // what Metaspace makes of a blank
    return std::ssize(word) - (word.starts_with(kBlank) ? std::ssize(kBlank) - 1 : 0);
  }

  void find_unknown(std::string_view word, std::vector<std::string>& unknown) const override {
    std::vector<std::int32_t> tokens;
    if (!add(word, tokens)) unknown.emplace_back(word);
  }

  std::int32_t find(std::string_view piece) const override { return vocabulary_.find(piece); }
  std::size_t entries() const override { return vocabulary_.entries(); }
  const Pieces& pieces() const override { return vocabulary_.pieces(); }

 protected:
  // False, and any tokens, where the word is unknown.
  virtual bool add(std::string_view word, std::vector<std::int32_t>& tokens) const = 0;

 private:
  std::string where_;
  Vocabulary vocabulary_;
  std::string unknown_;
};

class WordLevel final : public WholeWords {
 public:
  using WholeWords::WholeWords;
  std::string name() const override { return "words"; }

 private:
  bool add(std::string_view word, std::vector<std::int32_t>& tokens) const override {
    tokens.push_back(find(word));
    return tokens.back() >= 0;
  }
};

class WordPiece final : public WholeWords {
 public:
  explicit WordPiece(const JsonPlace& place)
      : WholeWords(place),
        most_(place.at("max_input_chars_per_word").integer(0, std::numeric_limits<std::int64_t>::max())) {
    const std::string& prefix = place.at("continuing_subword_prefix").text();
    std::vector<std::pair<std::string, std::int32_t>> first, further;
    for (std::size_t token = 0; token < pieces().size(); ++token) {
      const std::string piece = pieces()[token].value_or("");
      if (!piece.empty()) first.emplace_back(piece, static_cast<std::int32_t>(token));
      if (piece.starts_with(prefix) && piece.size() > prefix.size())
        further.emplace_back(piece.substr(prefix.size()), static_cast<std::int32_t>(token));
    }
    first_ = std::make_unique<Trie>(std::move(first));
    further_ = std::make_unique<Trie>(std::move(further));
  }

  std::string name() const override { return "WordPiece"; }

 private:
  bool add(std::string_view word, std::vector<std::int32_t>& tokens) const override {
    if (std::count_if(word.begin(), word.end(), [](char byte) { return (byte & 0xc0) != 0x80; }) > most_) return false;
    for (std::size_t at = 0; at < word.size();) {
      std::size_t bytes = 0;
      std::int32_t token = -1;
      (at == 0 ? first_ : further_)->prefixes(word.substr(at), [&](std::size_t length, std::int32_t piece) {
        bytes = length;  // the last one is the longest
        token = piece;
      });
      if (token < 0) return false;
      tokens.push_back(token);
      at += bytes;
    }
    return true;
  }

  std::int64_t most_;  // characters of a word
  std::unique_ptr<Trie> first_,
      further_;  // pieces that begin a word, and those that go on with one, without the prefix
};

}  // namespace

std::unique_ptr<WordModel> make_word_piece(const JsonPlace& place) { return std::make_unique<WordPiece>(place); }
std::unique_ptr<WordModel> make_word_level(const JsonPlace& place) { return std::make_unique<WordLevel>(place); }

}  // namespace weir
