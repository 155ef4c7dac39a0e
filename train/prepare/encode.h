// Text to the tokens of a split, on all threads, in order: a text is cut into pieces (a line, a document) that are
// encoded apart from one another, so the tokens depend neither on the threads nor on how the work was shared out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "train/dataset.h"
#include "train/prepare/document.h"
#include "train/prepare/reporter.h"
#include "train/text/text_stream.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {

enum class Cut {
  bytes,        // anywhere: for tokenizers that see single bytes
  lines,        // without their ends: for tokenizers that lose them
  whole_lines,  // with their ends
  documents,    // a line is a JSON object with a string "text"; after each text that is not empty comes <STORY_SEP>
};

// How a text that is not cut into documents is cut so that the tokenizer sees what it was made for.
Cut cut_for(const Tokenizer& tokenizer);

// What ends a document. Ordinary text to the tokenizer, as in the published experiments.
inline constexpr const char* kDocumentEnd = "<STORY_SEP>";

struct EncodeTotals {
  std::int64_t bytes = 0;  // of the text encoded
  std::int64_t words = 0;  // parts between blanks, and one for the end of each line: the tokens of a word-level corpus
  std::int64_t unknown_bytes = 0;  // that no token tells of: unknown, removed, or the end of a line
  double seconds = 0;
  MendingLog mended;  // in JSON lines

  std::string speed() const;  // "12 MB/s"
  double unknown_share() const;
};

class Encoder {
 public:
  // At most `limit` tokens are written.
  Encoder(const Tokenizer& tokenizer, Cut cut, std::int64_t limit, TokenSink& into, std::string label,
          Reporter& reporter);

  // Throws RunError(bad_data) where too much of a text with documents is none.
  void append(TextStream& text);
  bool full() const { return into_.size() == limit_; }
  const EncodeTotals& totals() const { return totals_; }

 private:
  struct Batch;
  struct Group;

  void encode(const Batch& batch, const std::string& text_label, DocumentLog& log);
  void encode_piece(std::string_view piece, const std::string& text_label, std::int64_t line, Group& group) const;

  const Tokenizer& tokenizer_;
  const Cut cut_;
  const std::int64_t limit_;
  TokenSink& into_;
  const std::string label_;
  Reporter& reporter_;
  EncodeTotals totals_;
};

// The pieces of a text as they will be encoded, for training a tokenizer on them. Not for Cut::bytes.
class PieceReader {
 public:
  PieceReader(std::unique_ptr<TextStream> text, Cut cut) : text_(std::move(text)), lines_(*text_), cut_(cut) {}

  // The next one, which can be empty; false at the end. Throws as Encoder::append() does.
  bool next(std::string& piece);

 private:
  std::unique_ptr<TextStream> text_;
  LineReader lines_;
  Cut cut_;
  DocumentLog log_;
};

}  // namespace weir
