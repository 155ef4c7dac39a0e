// Where a new run may begin: in a folder that holds nothing which the run would write over, or mix with its own.
#pragma once

#include <string>

#include "train/config.h"

namespace weir {

// Refuses a folder that holds a run or the checkpoints of one, files with the names that a run gives its own, prepared
// data, or other things than the run's configuration and data. Throws ArgumentError, which says what is there. A folder
// that is not there, or in which a run was killed before it began, is fine.
void check_new_run_folder(const std::string& folder, const DataConfig& data);

// The same for the folder of several runs, which may hold others beside them.
void check_new_sweep_folder(const std::string& folder);

// Whether the file `lock` of a folder was written by a run, or does not say anything.
bool is_lock_text(const std::string& text);

}  // namespace weir
