#include "train/tokenizer/json/word_model.h"

namespace weir {

// Files of the first years do not name the type.
std::unique_ptr<WordModel> make_word_model(const JsonPlace& place) {
  const std::string type = place.text_or("type", place.find("merges") ? "BPE" : "Unigram");
  if (type == "BPE") return make_bpe(place);
  if (type == "Unigram") return make_unigram(place);
  place.unsupported(type, "BPE, Unigram");
}

}  // namespace weir
