// The folder that holds everything about a run, owned by one process at a time.
//
//   config.toml  metrics.jsonl  events.out.tfevents...  checkpoints/  samples.txt  lock  tokenizer.model or .json
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data.h"
#include "train/tokenizer/tokenizer.h"

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

  // Copies the tokenizer that made the data here, so that the run outlives the data. Returns its name in this folder,
  // "bytes" where there is none to copy. A run that was begun before keeps the one that it has.
  std::string keep_tokenizer(const Corpus& corpus) const;

 private:
  void remove_unfinished_files() const;

  std::string path_;
  int lock_ = -1;
};

// The newest checkpoint of a run that passes verification. Damaged ones are reported on stderr and passed over; nothing
// if there is none at all; throws RunError(bad_data) where all are damaged.
std::optional<CheckpointInfo> newest_valid_checkpoint(const std::string& run);

// The tokenizer of the run that a checkpoint belongs to. Throws where its file is missing or has another vocabulary.
std::unique_ptr<Tokenizer> tokenizer_of(const std::string& checkpoint);

// The checkpoint that `path` means: itself, or the newest valid one of a run folder. Throws where there is none.
std::string resolve_checkpoint(const std::string& path);

}  // namespace weir
