// The space on the disk that a run will take, foreseen before it begins.
#pragma once

#include <cstdint>
#include <string>

#include "train/config.h"

namespace weir {

struct DiskNeed {
  std::uint64_t checkpoint = 0;  // bytes of one
  std::int64_t checkpoints = 0;  // there at the same time: those that are kept, and the one that is being written
  std::string fewer{};           // the setting that makes them fewer; empty: there is none
};
DiskNeed disk_need(const Config& config);

struct DiskPlace {
  std::string run;     // its folder
  bool begun = false;  // whose place is settled, for the run is there already
  std::uint64_t free_bytes = 0;
  std::uint64_t taken_bytes = 0;  // by checkpoints that are there already, which count as room for those to come
};

// Refuses a run for whose next checkpoint the disk of its folder has no room (RunError(io)), warns on stderr where
// there is room for fewer than will be kept. `begun`: the folder holds the run already.
void check_disk_space(const Config& config, const std::string& run, bool begun);

// What check_disk_space() warns of; empty: nothing. Throws as it does.
std::string disk_warning(const DiskNeed& need, const DiskPlace& place);

}  // namespace weir
