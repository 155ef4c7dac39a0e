// The lock of a run's folder, so that one process at a time writes there. It is two: on the folder itself, which nobody
// can remove without removing the run, and on the file `lock`, which says whose it is, and counts alone where the file
// system locks no folders. The system drops both when the process ends, however it ends.
#pragma once

#include <functional>
#include <string>

#include "core/error.h"

namespace weir {

// The folder of a run is not at its path any more.
class RunFolderGone : public RunError {
 public:
  RunFolderGone(const std::string& message, std::string now_at)
      : RunError(ExitCode::io, message), now_at_(std::move(now_at)) {}
  const std::string& now_at() const { return now_at_; }  // where it was moved; empty: nowhere to be seen

 private:
  std::string now_at_;
};

class RunLock {
 public:
  // Throws RunError(io) where another process has it, or where the file `lock` is somebody's own. `look` is called when
  // the folder is locked and nothing was written yet; what it throws ends it, and the folder stays as it was.
  explicit RunLock(const std::string& folder, const std::function<void()>& look = {});
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // Throws RunFolderGone where the folder that was locked is not at its path any more, RunError(io) where another
  // process has taken the place of a lock that was removed. A lock that was removed is put back.
  void check();

  void remove();  // the file, where it is ours

 private:
  void lock_file();
  std::string file() const { return folder_ + "/lock"; }

  std::string folder_;
  int folder_descriptor_ = -1, file_descriptor_ = -1;
};

}  // namespace weir
