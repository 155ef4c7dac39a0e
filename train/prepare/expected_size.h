// The space that a data set will take on the disk, foreseen before its texts are encoded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "train/prepare/encode.h"
#include "train/prepare/plan.h"

namespace weir {

// Pieces of a text, evenly spread over it however long it turns out to be; a text below 1 MiB is kept whole.
class TextSample {
 public:
  static constexpr std::size_t kPieceBytes = std::size_t{1} << 14;

  void add(std::string_view piece);  // the next kPieceBytes of the text; less at its end
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::uint64_t seen_ = 0, every_ = 1;  // pieces; one in so many is kept
};

// All files of the folder, of which the tokenizer takes `tokenizer_bytes`. As many tokens come out of each byte as of
// the plan's sample; without one as many as its splits may have, or as their files can hold.
std::uint64_t expected_bytes(const Plan& plan, const Tokenizer& tokenizer, Cut cut, std::uint64_t tokenizer_bytes,
                             Reporter& reporter);

// What it takes at least, with a tokenizer of so many pieces or more that is not there yet.
std::uint64_t least_bytes(const Plan& plan, std::int64_t vocabulary);

}  // namespace weir
