// Notices that a corpus was overwritten in place while it was trained on: the same file, with other contents. (One that
// was replaced by another file stays as it was for whoever has it open.)
#pragma once

#include <string>
#include <vector>

#include "train/data.h"

namespace weir {

class DataWatch {
 public:
  // Of a corpus since it was opened.
  explicit DataWatch(const Corpus& corpus);

  const std::string& checksum() const { return checksum_; }

  // Throws RunError(bad_data) where the tokens are others than they were. Quick while nobody has touched the files.
  void check();

 private:
  const Corpus& corpus_;
  std::vector<FileStamp> stamps_;
  std::string checksum_;
};

}  // namespace weir
