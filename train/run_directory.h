// The folder that holds everything about a run, owned by one process at a time.
//
//   config.toml  metrics.jsonl  events.out.tfevents...  checkpoints/  samples.txt  lock  tokenizer.model or .json
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/file.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data.h"
#include "train/run_lock.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {

class RunDirectory {
 public:
  // Creates the folder where it is not there and takes its lock. Throws RunError(io) where another process has it, or
  // where something else than a regular file stands in the place of one that a run writes. `look` is called before
  // anything is written there; what it throws leaves the folder as it was.
  explicit RunDirectory(const std::string& path, const std::function<void()>& look = {});
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string checkpoints() const { return file("checkpoints"); }
  bool has_config() const { return is_there(file("config.toml")); }  // a run began here

  // Throws RunFolderGone where the folder is not there any more, RunError(io) where it belongs to another process. A
  // lock that somebody removed is put back. To be asked before anything is written that another run could have written.
  void check_owned() const;

  // Throws RunError(io) where the configuration or that checkpoint is not there any more.
  void check_complete(const std::string& checkpoint) const;

  struct KeptTokenizer {
    std::string name;        // in this folder; kByteTokenizer where the corpus has none
    bool was_there = false;  // a run that was begun before keeps the one that it has
  };
  // Copies the tokenizer that made the data here, so that the run outlives the data. Throws RunError(bad_data) where
  // the run has another one.
  KeptTokenizer keep_tokenizer(const Corpus& corpus) const;

 private:
  void check_kinds() const;
  void remove_unfinished_files() const;

  std::string path_;
  std::unique_ptr<RunLock> lock_;
};

// The newest checkpoint of a run that passes verification. Damaged ones are passed over, and a warning on stderr says
// which is used instead; nothing if there is none at all; throws RunError(bad_data) where all are damaged, and the
// error of the system where one cannot be looked at: it may be sound, and the next save would remove it.
std::optional<CheckpointInfo> newest_valid_checkpoint(const std::string& run);

// The configuration of a run: its config.toml, or, where that is not there any more, what its newest valid checkpoint
// stored (a warning says so). With overrides and notes as load_config() takes them.
Config run_config(const std::string& run, std::span<const std::string> overrides = {}, Notes* notes = nullptr);

// The data of the run that a checkpoint belongs to, wherever both are now (found_data() of train/data_paths.h).
DataConfig data_of(const std::string& checkpoint, const std::string& advice = "");

// The file of the tokenizer of the run that a checkpoint belongs to; not for a run on bytes.
std::string tokenizer_file(const std::string& checkpoint);

// That tokenizer. Throws where its file is missing or has another vocabulary.
std::unique_ptr<Tokenizer> tokenizer_of(const std::string& checkpoint);

// The checkpoint that `path` means: itself, or the newest valid one of the run that it names (train/run_lookup.h).
// Throws where there is none.
std::string resolve_checkpoint(const std::string& path);

}  // namespace weir
