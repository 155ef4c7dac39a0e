#include "train/tokenizer/json/word_model.h"

namespace weir {
namespace {

// Files of the first years do not name the type: it is the first of these whose members are there.
std::string type_of(const JsonPlace& place) {
  if (place.find("type")) return place.at("type").text();
  if (place.find("merges")) return "BPE";
  if (place.find("max_input_chars_per_word")) return "WordPiece";
  return place.find("unk_token") ? "WordLevel" : "Unigram";
}

}  // namespace

std::unique_ptr<WordModel> make_word_model(const JsonPlace& place) {
  const std::string type = type_of(place);
  if (type == "BPE") return make_bpe(place);
  if (type == "Unigram") return make_unigram(place);
  if (type == "WordPiece") return make_word_piece(place);
  if (type == "WordLevel") return make_word_level(place);
  place.unsupported(type, "BPE, Unigram, WordPiece, WordLevel");
}

}  // namespace weir
