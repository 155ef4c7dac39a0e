// The lock of a run's folder, so that one process at a time writes there. It is two: on the folder itself, which nobody
// can remove without removing the run, and on the file `lock`, which says whose it is, and counts alone where the file
// system locks no folders. The system drops both when the process ends, however it ends.
#pragma once

#include <string>

namespace weir {

class RunLock {
 public:
  // Throws RunError(io) where another process has it.
  explicit RunLock(const std::string& folder);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // Throws RunError(io) where the folder that was locked is not at its path any more, or another process has taken the
  // place of a lock that was removed. A lock that was removed is put back.
  void check();

  void remove();  // the file, where it is ours

 private:
  void lock_file();
  std::string file() const { return folder_ + "/lock"; }

  std::string folder_;
  int folder_descriptor_ = -1, file_descriptor_ = -1;
};

}  // namespace weir
