// samples.txt: generated texts, each after a line "--- step N".
#pragma once

#include <cstdint>
#include <string>

#include "train/append_file.h"

namespace weir {

inline constexpr const char* kSampleMark = "--- step ";

class SamplesLog {
 public:
  // `first_step` is the first step that this run will write: an existing file loses its texts from that step on, which
  // a run that was killed has left.
  SamplesLog(const std::string& path, std::int64_t first_step, Warn warn = warn_on_stderr);

  // Lines that look like the mark of another text are indented.
  void write(std::int64_t step, const std::string& text);

  void check() { file_.check(); }  // throws RunError(io) where texts that were written are not there

 private:
  AppendFile file_;
};

}  // namespace weir
