#include "train/data_watch.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"

namespace weir {

DataWatch::DataWatch(const Corpus& corpus)
    : corpus_(corpus), stamps_(corpus.stamps_when_opened()), checksum_(corpus.checksum()) {}

void DataWatch::check() {
  std::vector<FileStamp> now = corpus_.stamps();
  if (now == stamps_) return;
  corpus_.verify();
  if (const std::string checksum = corpus_.present_checksum(); checksum != checksum_)
    throw RunError(
        ExitCode::bad_data,
        fmt::format("{}: this text was changed while the run went on: its checksum was {} and is {}; put back "
                    "what was there and resume the run, which goes on from its last checkpoint, or begin "
                    "another run",
                    printable(corpus_.name(), 4096), checksum_, checksum));
  stamps_ = std::move(now);
}

}  // namespace weir
