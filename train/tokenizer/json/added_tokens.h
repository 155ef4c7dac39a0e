// The added tokens of a tokenizer.json: they are found in the text before the model sees it.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "train/tokenizer/json/normalizer.h"
#include "train/tokenizer/json/trie.h"
#include "train/tokenizer/json/word_model.h"

namespace weir {

class AddedTokens {
 public:
  // `place`: the list, or nothing. Tokens that the model does not know must have the numbers that follow its own, in
  // the order of the list: the reference numbers them so, whatever the file says.
  AddedTokens(const std::optional<JsonPlace>& place, const WordModel& model, const Normalizer* normalizer);

  // Cuts the text at the tokens: first those that are looked for in the text as it is, then, after normalising what is
  // between them, the others.
  std::vector<Segment> extract(Segment whole, const Normalizer* normalizer) const;

  // The pieces to decode, by token, and which of them are skipped.
  const std::unordered_map<std::int32_t, std::string>& pieces() const { return pieces_; }
  bool is_special(const std::string& piece) const { return special_.contains(piece); }

 private:
  struct Added {
    std::string content;
    std::int32_t token = -1;
    bool single_word = false, strip_left = false, strip_right = false;
  };
  // Tokens that are looked for together.
  struct Set {
    std::vector<Added> tokens;
    std::unique_ptr<Trie> trie;  // numbers are indices into `tokens`
  };

  void add(const JsonPlace& place, std::int32_t token, const Normalizer* normalizer);
  static void index(Set& set, const JsonPlace& place);
  static void split(const Segment& segment, const Set& set, std::vector<Segment>& parts);

  Set raw_, normalized_;
  std::unordered_map<std::int32_t, std::string> pieces_;
  std::set<std::string> special_;
};

}  // namespace weir
