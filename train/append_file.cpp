#include "train/append_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/text.h"

namespace weir {
namespace {
constexpr std::size_t most_pending = 1 << 20;
}

void warn_on_stderr(const std::string& message) {
  std::fprintf(stderr, "weir: warning: %s\n", one_line(message).c_str());
}

AppendFile::AppendFile(std::string path, Warn warn) : path_(std::move(path)), warn_(std::move(warn)) {}

AppendFile::~AppendFile() {
  if (!pending_.empty()) flush();
  if (descriptor_ >= 0) close(descriptor_);
}

void AppendFile::append(std::string_view record) {
  if (pending_.size() + record.size() <= most_pending) pending_ += record;
  flush();
}

// Writes as much as goes. A record cut in two by a full disk is continued where it broke off.
bool AppendFile::flush() {
  if (descriptor_ < 0) {
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (descriptor_ < 0) return fail("open");
  }
  std::size_t written = 0;
  while (written < pending_.size()) {
    const ssize_t count = write(descriptor_, pending_.data() + written, pending_.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    written += static_cast<std::size_t>(count);
  }
  const bool complete = written == pending_.size();
  const int reason = errno;
  pending_.erase(0, written);
  errno = reason;
  return complete || fail("write");
}

bool AppendFile::fail(const char* action) {
  const int reason = errno;
  if (!warned_) {
    warn_(fmt::format("cannot {} {}: {} (errno {}); the run goes on and the log is tried again later", action,
                      quote(path_), std::strerror(reason), reason));
  }
  warned_ = true;
  return false;
}

}  // namespace weir
