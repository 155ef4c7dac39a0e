// Text to the tokens of a split, on all threads, in order: a text is cut into pieces (a line, a document) that are
// encoded apart from one another, so the tokens depend neither on the threads nor on how the work was shared out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "train/dataset.h"
#include "train/prepare/reporter.h"
#include "train/prepare/text_stream.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {

enum class Cut {
  bytes,        // anywhere: for tokenizers that see single bytes
  lines,        // without their ends, which SentencePiece would drop as well
  whole_lines,  // with their ends
  documents,    // a line is a JSON object with a string "text"; after each text that is not empty comes <STORY_SEP>
};

// What ends a document. Ordinary text to the tokenizer, as in the published experiments.
inline constexpr const char* kDocumentEnd = "<STORY_SEP>";

struct EncodeTotals {
  std::int64_t bytes = 0;  // of the text encoded
  std::int64_t words = 0;  // parts between blanks, and one for the end of each line: the tokens of a word-level corpus
  double seconds = 0;
};

class Encoder {
 public:
  // At most `limit` tokens are written.
  Encoder(const Tokenizer& tokenizer, Cut cut, std::int64_t limit, SplitWriter& into, std::string label,
          Reporter& reporter);

  void append(TextStream& text);
  bool full() const { return into_.size() == limit_; }
  const EncodeTotals& totals() const { return totals_; }

 private:
  struct Batch;
  struct Group;

  void encode(const Batch& batch, const std::string& text_label);
  void encode_piece(std::string_view piece, const std::string& text_label, std::int64_t line, Group& group) const;

  const Tokenizer& tokenizer_;
  const Cut cut_;
  const std::int64_t limit_;
  SplitWriter& into_;
  const std::string label_;
  Reporter& reporter_;
  EncodeTotals totals_;
};

// The next piece as it will be encoded, which can be empty; false at the end. Not for Cut::bytes. For training a
// tokenizer on the same pieces.
bool next_piece(LineReader& lines, Cut cut, const std::string& label, std::string& piece);

}  // namespace weir
