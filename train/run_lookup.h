// Which run a user means.
#pragma once

#include <string>

namespace weir {

// Whether a run began in that folder: its configuration is there, or a checkpoint.
bool holds_run(const std::string& folder);
bool is_preset(const std::string& name);

// The folder of the run that `what` names: as a path, as its own configuration, or as a name below runs/. Empty where
// there is none.
std::string run_named(const std::string& what);

enum class RunUse { resume, read };  // what it is wanted for, on which the advice depends

// Says what there is in the place of the run, and what to give instead. Throws ArgumentError.
[[noreturn]] void refuse_no_run(const std::string& what, RunUse use);

// run_named(), or refuse_no_run() to read it.
std::string run_to_read(const std::string& what);

// The path of a file that a run wrote, for reading. What stands there may be missing, but no symbolic link:
// RunError(io).
std::string run_file(const std::string& run, const std::string& name);

}  // namespace weir
