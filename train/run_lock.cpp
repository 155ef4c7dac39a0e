#include "train/run_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/append_file.h"
#include "train/run_names.h"

namespace weir {
namespace {

bool try_lock(int descriptor) { return flock(descriptor, LOCK_EX | LOCK_NB) == 0; }

// Where the system says that an open folder is now; empty where it is nowhere to be seen.
std::string place_of(int descriptor) {
  std::error_code error;
  const std::string place = std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", descriptor), error).string();
  return !error && is_at(descriptor, place, Links::followed) ? place : "";
}

[[noreturn]] void refuse_gone(const std::string& folder, const std::string& now_at) {
  const std::string what = fmt::format("{}: the run's folder is no longer at this name: while the run went on it was ",
                                       printable(folder, 4096));
  throw RunError(
      ExitCode::io,
      what + (now_at.empty()
                  ? "removed, or moved to where it cannot be seen from here; if it was moved, resume it there, "
                    "else train it again: 'weir train --resume FOLDER', 'weir train PRESET'"
                  : fmt::format("moved to {}, with all that was saved; continue with: {}", printable(now_at, 4096),
                                resume_command(now_at))));
}

// " (pid 4711)", as the file says.
std::string owner(const std::string& file) {
  try {
    const std::string text = read_file(file, 64);
    return text.starts_with("pid ") ? fmt::format(" ({})", printable(text)) : "";
  } catch (const RunError&) {
    return "";
  }
}

[[noreturn]] void refuse_second(const std::string& folder) {
  throw RunError(ExitCode::io, fmt::format("{}: another process{} trains in this folder; wait for it, or stop it; a "
                                           "new run takes another folder with --run",
                                           printable(folder, 4096), owner(folder + "/lock")));
}

}  // namespace

RunLock::RunLock(const std::string& folder) : folder_(folder) {
  folder_descriptor_ = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_descriptor_ < 0) throw SystemError(folder, "open the run folder", errno);
  try {
    // Where folders cannot be locked, the file decides.
    if (!try_lock(folder_descriptor_) && errno == EWOULDBLOCK) refuse_second(folder);
    lock_file();
  } catch (...) {
    close(folder_descriptor_);
    throw;
  }
}

RunLock::~RunLock() {
  close(file_descriptor_);
  close(folder_descriptor_);
}

void RunLock::lock_file() {
  const int descriptor = open_to_lock(file());
  if (!try_lock(descriptor)) {
    close(descriptor);
    refuse_second(folder_);
  }
  if (file_descriptor_ >= 0) close(file_descriptor_);
  file_descriptor_ = descriptor;
  const std::string text = fmt::format("pid {}", getpid());
  if (ftruncate(descriptor, 0) != 0 || pwrite(descriptor, text.data(), text.size(), 0) < 0)
    warn_on_stderr(SystemError(file(), "note the owner", errno).what());
}

void RunLock::check() {
  if (!is_at(folder_descriptor_, folder_, Links::followed)) refuse_gone(folder_, place_of(folder_descriptor_));
  if (is_at(file_descriptor_, file())) return;
  warn_on_stderr(
      fmt::format("{}: this file was removed or replaced while the run went on; it is put back, for it keeps "
                  "a second run out of the folder",
                  printable(file(), 4096)));
  lock_file();
}

void RunLock::remove() {
  if (is_at(file_descriptor_, file())) unlink(file().c_str());
}

}  // namespace weir
