// A folder that is there whole or not at all: filled under another name beside its place, moved there at the end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir {

class OutputFolder {
 public:
  // Makes .NAME.tmp-PID beside `path`. Throws where `path` exists (ArgumentError), unless it is a prepared data set
  // with nothing else in its folder and `replace` is set, or where nothing can be written or another process is writing
  // there (RunError). What a killed process left there is removed.
  OutputFolder(const std::string& path, bool replace);
  ~OutputFolder();  // without commit() nothing stays
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::string& path() const { return temporary_; }  // to be filled
  std::uint64_t free_bytes() const;                       // on its file system
  void commit();  // throws RunError where another process has put something in that place meanwhile

 private:
  void check_target() const;
  void make_parent();
  void put_in_place() const;

  std::string target_, parent_, temporary_;
  bool replace_;
  int lock_ = -1;                  // the folder that is filled, locked: nobody takes it for one that was left behind
  std::vector<std::string> made_;  // folders above it that were not there, the innermost first
};

}  // namespace weir
