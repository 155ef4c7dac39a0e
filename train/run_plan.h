// What `weir train` is asked for: which configuration, in which folder.
#pragma once

#include <string>
#include <vector>

#include "train/config.h"

namespace weir {

struct RunRequest {
  std::string what;  // a preset, a TOML file, or with `resume` a run; may be empty then
  std::vector<std::string> overrides;
  std::string run;  // the folder; empty: the one that `what` means
  bool resume = false;
};

struct RunPlan {
  Config config;
  std::string run;
  Notes notes;
};

// A new run is planned for runs/NAME unless the request names a folder. Resuming takes the settings that the run
// stored, with the overrides of the request; those of a TOML file where one is named. Where nothing was begun yet, the
// preset or the file begins it. Throws ArgumentError where the request does not say what is meant.
RunPlan plan_run(const RunRequest& request);

}  // namespace weir
