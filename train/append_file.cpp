#include "train/append_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "core/error.h"
#include "core/file.h"
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
  if (folder_descriptor_ >= 0) close(folder_descriptor_);
}

void AppendFile::append(std::string_view record) {
  if (pending_.size() + record.size() <= most_pending)
    pending_ += record;
  else
    dropped_ = true;
  flush();
}

std::string AppendFile::folder() const {
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  return folder.empty() ? "." : folder;
}

// The folder that the file was opened in is elsewhere now, and what stands at its path is somebody else's.
bool AppendFile::was_moved_with_folder() const {
  struct stat status {};
  return descriptor_ >= 0 && folder_descriptor_ >= 0 && !is_at(folder_descriptor_, folder(), Links::followed) &&
         fstat(descriptor_, &status) == 0 && status.st_nlink > 0;
}

bool AppendFile::open() {
  if (descriptor_ >= 0 && (is_at(descriptor_, path_) || was_moved_with_folder())) return true;
  const bool lost = descriptor_ >= 0;
  if (lost) {
    close(std::exchange(descriptor_, -1));
    was_replaced_ = true;
  }
  try {
    descriptor_ = open_to_append(path_);
  } catch (const RunError& error) {
    return fail(error.what());
  }
  if (folder_descriptor_ < 0) folder_descriptor_ = ::open(folder().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (lost)
    fail(fmt::format("{}: this file was moved, removed or replaced while the run wrote to it, and is begun anew",
                     printable(path_, 4096)));
  return true;
}

// Writes as much as goes. A record cut in two by a full disk is continued where it broke off.
bool AppendFile::flush() {
  if (!open()) return false;
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
  return complete || fail(SystemError(path_, "write", reason).what());
}

bool AppendFile::fail(const std::string& what) {
  if (!warned_) warn_(what + "; the run goes on, and writes later what cannot be written now");
  warned_ = true;
  return false;
}

void AppendFile::check() {
  if (!pending_.empty()) flush();
  const std::string path = printable(path_, 4096);
  if (!pending_.empty() || dropped_)
    throw RunError(ExitCode::io,
                   fmt::format("{}: a part of what the run wrote is missing, for it could not be written; "
                               "free some space, and check the folder's permissions",
                               path));
  if (was_replaced_ || (descriptor_ >= 0 && !is_at(descriptor_, path_)))
    throw RunError(ExitCode::io,
                   fmt::format("{}: this file was moved, removed or replaced during the run, so a part of what "
                               "the run wrote is missing; leave the folder alone while a run is in it",
                               path));
}

}  // namespace weir
