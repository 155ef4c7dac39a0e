// What a run says while it goes on: a live line on a terminal, a plain line per log interval elsewhere.
#pragma once

#include <cstdint>
#include <string>

#include "core/output.h"

namespace weir {

struct Progress {
  std::int64_t step = 0;
  std::int64_t steps = 0;  // 0: not known
  double loss = 0;         // nats per token
  bool is_bytes = true;    // tokens are bytes: the loss is shown in bits per byte too, otherwise as perplexity
  double learning_rate = 0;
  double tokens_per_second = 0;
  double gradient_norm = 0;
  double seconds_left = -1;  // negative: not known
};

// "step 120/600 | loss 1.834 | bpb 2.646 | lr 1.8e-03 | 21.4k tok/s | grad 0.31 | eta 1m12s". Where it has more than
// `columns` the parts move together, which fits all of them into 80; below that those of least interest are left out:
// grad, then lr, bpb (or "ppl 6.26"), tok/s and eta.
std::string progress_text(const Progress& progress, int columns = 1000);

std::string format_duration(double seconds);  // "12s", "1m12s", "2h05m", "3d04h"; "?" where not a time
std::string format_si(double number);         // three digits: "512", "21.4k", "1.83M"

// What cannot be printed, because nobody reads it any more or the disk is full, does not stop the work.
class ProgressLine {
 public:
  ProgressLine(Output& output, bool live, int columns = 0);  // columns 0: asks the terminal
  explicit ProgressLine(Output& output) : ProgressLine(output, output.is_live_terminal()) {}
  ~ProgressLine() { finish(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // To be called each step. A terminal's line is redrawn, at most ten times a second; elsewhere a line is printed when
  // `log_now` is set.
  void update(const Progress& progress, bool log_now);

  void message(const std::string& text);  // a line of its own, above the live one
  void finish();                          // leaves the newest line standing

 private:
  void draw();

  Output& output_;
  bool live_;
  int columns_;
  bool drawn_ = false;
  double drawn_at_ = -1;
  Progress newest_;
};

}  // namespace weir
