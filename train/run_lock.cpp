#include "train/run_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/append_file.h"
#include "train/new_run_folder.h"

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
  throw RunFolderGone(
      what + (now_at.empty()
                  ? "removed, or moved to where it cannot be seen from here; if it was moved, resume it there, "
                    "else train it again: 'weir train --resume FOLDER', 'weir train PRESET'"
                  : "moved to " + printable(now_at, 4096)),
      now_at);
}

// The start of what the file holds; empty where it cannot be read.
std::string start_of(int descriptor) {
  std::string text(64, '\0');
  const ssize_t count = pread(descriptor, text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(0, count)));
  return text;
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

RunLock::RunLock(const std::string& folder, const std::function<void()>& look) : folder_(folder) {
  folder_descriptor_ = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_descriptor_ < 0) throw SystemError(folder, "open the run folder", errno);
  try {
    // Where folders cannot be locked, the file decides.
    if (!try_lock(folder_descriptor_) && errno == EWOULDBLOCK) refuse_second(folder);
    if (look) look();
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
  const bool begins = file_descriptor_ < 0, ours = is_lock_text(start_of(descriptor));
  if (begins && !ours) {
    close(descriptor);
    throw RunError(ExitCode::io, fmt::format("{}: this file is no lock of Weir's, which a run writes under this name; "
                                             "move it away",
                                             printable(file(), 4096)));
  }
  if (!begins) close(file_descriptor_);
  file_descriptor_ = descriptor;
  if (!ours) return;  // somebody put it there while the run went on: it is locked, and stays as it is
  const std::string text = fmt::format("pid {}", getpid());
  if (ftruncate(descriptor, 0) != 0 || pwrite(descriptor, text.data(), text.size(), 0) < 0)
    warn_on_stderr(SystemError(file(), "note the owner", errno).what());
}

void RunLock::check() {
  if (!is_at(folder_descriptor_, folder_, Links::followed)) refuse_gone(folder_, place_of(folder_descriptor_));
  if (is_at(file_descriptor_, file())) return;
  warn_on_stderr(
      fmt::format("{}: this file was removed or replaced while the run went on; it is locked again, for it "
                  "keeps a second run out of the folder",
                  printable(file(), 4096)));
  lock_file();
}

void RunLock::remove() {
  if (is_at(file_descriptor_, file())) unlink(file().c_str());
}

}  // namespace weir
