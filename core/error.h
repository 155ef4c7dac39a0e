// The three kinds of error. Everything Weir throws is one of them, so that a caller can tell whose move it is:
//   ArgumentError   the caller passed something that cannot work: fix the call, the flag or the configuration
//   RunError        the circumstances failed: a file, the memory, the device; carries the exit code that names which
//   InternalError   Weir contradicted itself: report it
// A message says what was expected, what came instead, where, and what to do about it.
#pragma once

#include <stdexcept>
#include <string>

namespace weir {

// Exit codes of the `weir` command (the numbers of sysexits.h where one fits).
enum class ExitCode : int {
  success = 0,
  usage = 2,           // bad flag, configuration key or value
  bad_data = 65,       // a data file or checkpoint is damaged or unsuitable
  unavailable = 69,    // a device is not there
  internal = 70,       // a bug in Weir
  out_of_memory = 71,  // an allocation was refused
  io = 74,             // the file system failed
  stopped = 75,        // stopped by a signal after saving; run again to resume
  diverged = 77,       // the loss or the gradient is not finite
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

class ArgumentError : public Error {
 public:
  explicit ArgumentError(const std::string& message) : Error(ExitCode::usage, message) {}
};

class RunError : public Error {
 public:
  using Error::Error;
};

class InternalError : public Error {
 public:
  explicit InternalError(const std::string& message)
      : Error(ExitCode::internal, "internal error: " + message + "; this is a bug in Weir, please report it") {}
};

}  // namespace weir
