// A log file whose failures never stop a run.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace weir {

using Warn = std::function<void(const std::string&)>;

void warn_on_stderr(const std::string& message);

// Appends records in order. What cannot be written, because the disk is full or the folder is gone, waits in memory (up
// to 1 MiB, later records are dropped whole) and is tried again at the next record. A file that was removed or replaced
// meanwhile is begun anew; one whose folder was moved is written on where it is now. The first failure warns; later
// ones are silent.
class AppendFile {
 public:
  AppendFile(std::string path, Warn warn);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(std::string_view record);

  // Throws RunError(io) where anything that was appended is not in the file at that path.
  void check();

 private:
  bool flush();
  bool open();
  bool was_moved_with_folder() const;
  std::string folder() const;
  bool fail(const std::string& what);

  std::string path_;
  Warn warn_;
  std::string pending_;
  int descriptor_ = -1, folder_descriptor_ = -1;
  bool warned_ = false, dropped_ = false, was_replaced_ = false;
};

}  // namespace weir
