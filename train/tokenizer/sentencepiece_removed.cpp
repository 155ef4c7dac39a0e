#include "train/tokenizer/sentencepiece_removed.h"

#include <algorithm>

namespace weir {

RemovedText::RemovedText(const SentencePieceModel& model)
    : charsmap_("normalizer_spec", model.normalization.charsmap),
      extra_blanks_(model.normalization.remove_extra_whitespaces) {
  for (const SentencePieceModel::Piece& piece : model.pieces)
    if (piece.type == SentencePieceModel::PieceType::user_defined) {
      whole_.insert(piece.text);
      begins_[static_cast<unsigned char>(piece.text[0])] = true;
      longest_ = std::max(longest_, piece.text.size());
    }
}

RemovedText::Step RemovedText::next(std::string_view text) const {
  const bool may_be_whole = begins_[static_cast<unsigned char>(text[0])];
  for (std::size_t bytes = may_be_whole ? std::min(longest_, text.size()) : 0; bytes > 0; --bytes)
    if (whole_.contains(std::string(text.substr(0, bytes)))) return {bytes, text.substr(0, bytes)};
  if (const auto match = charsmap_.longest_match(text)) return {match->bytes, match->replacement};
  std::size_t bytes = 1;  // of a character, or one that is not UTF-8
  while (bytes < text.size() && (text[bytes] & 0xc0) == 0x80) ++bytes;
  return {bytes, text.substr(0, bytes)};
}

std::int64_t RemovedText::bytes(std::string_view text) const {
  std::size_t removed = 0, last_blank = 0;  // last_blank: what is kept of a run of them goes at the end of the text
  bool after_blank = extra_blanks_;
  while (!text.empty()) {
    const Step step = next(text);
    text.remove_prefix(step.bytes);
    const bool blank = extra_blanks_ && step.becomes.find_first_not_of(' ') == std::string_view::npos;
    if (step.becomes.empty() || (blank && after_blank)) {
      removed += step.bytes;
      continue;
    }
    last_blank = blank ? step.bytes : 0;
    after_blank = extra_blanks_ && step.becomes.ends_with(' ');
  }
  return static_cast<std::int64_t>(removed + last_blank);
}

}  // namespace weir
