// What a SentencePiece model's normalisation takes out of a text: blanks at both ends of a line and all but one of a
// run where the model removes extra ones, and characters that its table replaces by nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include "train/tokenizer/charsmap.h"
#include "train/tokenizer/sentencepiece_model.h"

namespace weir {

class RemovedText {
 public:
  explicit RemovedText(const SentencePieceModel& model);

  // Bytes of the text of which nothing is left in what the library cuts into pieces.
  std::int64_t bytes(std::string_view text) const;

 private:
  struct Step {
    std::size_t bytes = 0;     // of the text
    std::string_view becomes;  // what they are replaced by
  };
  Step next(std::string_view text) const;

  Charsmap charsmap_;
  bool extra_blanks_;                      // are removed
  std::unordered_set<std::string> whole_;  // user-defined pieces, which are never normalised
  std::array<bool, 256> begins_{};         // bytes that one of those begins with
  std::size_t longest_ = 0;                // bytes of those
};

}  // namespace weir
