// Documents out of JSON lines as they are met: written by many programs, cut off, patched together.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "train/dataset.h"

namespace weir {

// What is odd in a line, and what becomes of it.
enum class Oddity {
  lone_surrogate,  // half of a pair of \u escapes: U+FFFD, as Python reads and writes it
  invalid_utf8,    // a byte: U+FFFD
  odd_number,      // NaN, Infinity, 1e999 in a field that nobody reads: passed over
  blank_line,      // skipped
  bad_line,        // not JSON, or without a string "text": skipped
};
inline constexpr int kOddities = 5;

// How often what was met, and where first.
class MendingLog {
 public:
  void add(Oddity oddity, std::int64_t count, const std::string& place);
  void add(const MendingLog& later);

  std::int64_t count(Oddity oddity) const { return entries_[static_cast<std::size_t>(oddity)].count; }
  // "3 lone surrogates (first: valid.json:17), 2 blank lines skipped (first: valid.json:40)"; empty if there was none.
  std::string describe() const;
  std::map<std::string, Mended> by_name() const;  // of those that there were

 private:
  std::array<Mended, kOddities> entries_;
};

// What the lines of one file gave: what was mended, and whether so many are bad that it is the wrong file.
struct DocumentLog {
  MendingLog mended;
  std::int64_t lines = 0;      // but blank ones
  std::string first_bad_line;  // "FILE: line 2 is not JSON (...)"

  void add(const DocumentLog& later);
  // Throws RunError(bad_data) where more than a tenth of the lines are bad; before the end of the file, not on the
  // evidence of a few.
  void check(bool at_end) const;
};

// The string "text" of the JSON object in a line; empty where there is none, which `log` then says. `label` and
// `number` say which line it is.
std::string document_text(std::string_view line, const std::string& label, std::int64_t number, DocumentLog& log);

}  // namespace weir
