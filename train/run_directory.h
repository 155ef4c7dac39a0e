// The folder that holds everything about a run, owned by one process at a time.
//
//   config.toml  metrics.jsonl  events.out.tfevents...  checkpoints/  samples.txt  lock
#pragma once

#include <optional>
#include <string>

#include "train/checkpoint.h"
#include "train/config.h"

namespace weir {

class RunDirectory {
 public:
  // Creates the folder where it is not there and takes its lock. Throws RunError(io) where another process has it.
  explicit RunDirectory(const std::string& path);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string checkpoints() const { return file("checkpoints"); }
  bool has_run() const;  // a configuration was stored here

 private:
  void remove_unfinished_files() const;

  std::string path_;
  int lock_ = -1;
};

// The newest checkpoint of a run that passes verification. Damaged ones are reported on stderr and passed over; nothing
// if there is none at all; throws RunError(bad_data) where all are damaged.
std::optional<CheckpointInfo> newest_valid_checkpoint(const std::string& run);

// The checkpoint that `path` means: itself, or the newest valid one of a run folder. Throws where there is none.
std::string resolve_checkpoint(const std::string& path);

}  // namespace weir
