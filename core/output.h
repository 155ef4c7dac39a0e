// Standard output, through which every command prints. What is printed is not lost without a word: a write that fails
// is an error, at the latest when the command ends; only a reader who has seen enough, as `head` has, is none.
#pragma once

#include <string>
#include <string_view>

namespace weir {

class Output {
 public:
  // Writes to an open descriptor; `name` is for messages.
  Output(int descriptor, std::string name);
  ~Output() { try_flush(); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Printed soon: on a terminal at the end of a line, elsewhere when much has come together or with flush(). Throws
  // RunError where it cannot be: with ExitCode::io, or ExitCode::success where the reader of a pipe has gone, for whom
  // there is nothing left to do.
  void write(std::string_view text);
  void flush();

  // The same for what is told by the way, while work goes on that is worth more: never throws.
  void try_write(std::string_view text);
  void try_flush();

  // Throws RunError where anything was not printed, if there was somebody to read it.
  void finish();

  bool is_terminal() const { return is_terminal_; }
  bool is_live_terminal() const;  // a line can be rewritten
  int columns() const;            // of the terminal; 80 where it does not say

 private:
  void check() const;

  const int descriptor_;
  const std::string name_;
  const bool is_terminal_;
  std::string waiting_;
  int error_ = 0;  // of the first write that failed; nothing is written after it
};

Output& standard_output();

// For the start of a program. A standard descriptor that is closed would be given to the next file that is opened,
// which then holds what is printed; it is made one that cannot be used. (That a pipe nobody reads is an error of
// writing, as it is above, and not the end of the process, takes a program that ignores SIGPIPE.)
void prepare_standard_descriptors();

}  // namespace weir
