// A folder that is there whole or not at all: filled under another name beside its place, moved there at the end.
#pragma once

#include <cstdint>
#include <string>

namespace weir {

class OutputFolder {
 public:
  // Makes .NAME.tmp-PID beside `path`. Throws where `path` exists (ArgumentError), unless it is a prepared data set and
  // `replace` is set, or where nothing can be written (RunError). What a killed process left there is removed.
  OutputFolder(const std::string& path, bool replace);
  ~OutputFolder();  // without commit() nothing stays
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::string& path() const { return temporary_; }  // to be filled
  std::uint64_t free_bytes() const;                       // on its file system
  void commit();

 private:
  std::string target_, parent_, temporary_;
};

}  // namespace weir
