// Where the data of a run is. A configuration holds the paths as they were given and, in data.folder, where relative
// ones start, so that a run works from any working directory.
#pragma once

#include <string>

#include "train/config.h"

namespace weir {

std::string working_directory();                   // empty where it was removed
std::string real_folder(const std::string& path);  // absolute and without symbolic links; empty: the working directory
bool is_relative_path(const std::string& path);    // and not empty
std::string from_folder(const std::string& folder, const std::string& path);  // `path` where it is absolute

// `path`, a data.train or data.valid, as the file system takes it from the working directory. Empty stays empty.
std::string data_path(const DataConfig& data, const std::string& path);

// The data of a run that began earlier, perhaps elsewhere: relative paths are looked for in data.folder, then in the
// run folder, in the folder around it (and around runs/), and in the working directory, and data.folder becomes the
// first that has all of them. Throws RunError(io) that lists what was tried and ends with `advice`, what else than
// putting the data back helps: "or name other data with --data".
DataConfig found_data(DataConfig data, const std::string& run, const std::string& advice = "");

// Paths into the run folder as relative to it, so that they stay right when the folder moves.
DataConfig relative_to_run(DataConfig data, const std::string& run);

}  // namespace weir
