#include "core/output.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "core/error.h"
#include "core/file.h"

namespace weir {
namespace {
constexpr std::size_t kMostWaiting = 1 << 16;
}

Output::Output(int descriptor, std::string name)
    : descriptor_(descriptor), name_(std::move(name)), is_terminal_(isatty(descriptor) == 1) {}

void Output::write(std::string_view text) {
  try_write(text);
  check();
}

void Output::flush() {
  try_flush();
  check();
}

void Output::try_write(std::string_view text) {
  if (error_ != 0) return;
  waiting_ += text;
  if (waiting_.size() >= kMostWaiting || (is_terminal_ && text.find('\n') != std::string_view::npos)) try_flush();
}

void Output::try_flush() {
  std::size_t written = 0;
  while (error_ == 0 && written < waiting_.size()) {
    const ssize_t count = ::write(descriptor_, waiting_.data() + written, waiting_.size() - written);
    if (count >= 0)
      written += static_cast<std::size_t>(count);
    else if (errno != EINTR)
      error_ = errno;
  }
  waiting_.clear();
}

void Output::check() const {
  if (error_ == EPIPE) throw RunError(ExitCode::success, name_ + ": nobody reads it any more");
  if (error_ == EBADF) throw RunError(ExitCode::io, name_ + ": it is closed; leave it open, or send it to /dev/null");
  if (error_ != 0) throw SystemError(name_, "write", error_);
}

void Output::finish() {
  try_flush();
  if (error_ != EPIPE) check();
}

bool Output::is_live_terminal() const {
  const char* const terminal = std::getenv("TERM");
  return is_terminal_ && terminal != nullptr && std::string_view(terminal) != "dumb";
}

int Output::columns() const {
  winsize size{};
  return ioctl(descriptor_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

Output& standard_output() {
  static Output output(STDOUT_FILENO, "standard output");
  return output;
}

void prepare_standard_descriptors() {
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(standard, F_GETFD) >= 0 || errno != EBADF) continue;
    // open() takes the lowest number that is free, which is this one; neither can be read nor written as it should.
    if (open("/dev/null", standard == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
  }
}

}  // namespace weir
