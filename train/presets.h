// Named configurations: `weir train NAME` starts from one of them. The quick starts stand here, the rows of the paper
// in paper_presets.h.
#pragma once

#include <string>
#include <vector>

#include "train/config.h"

namespace weir {

std::vector<std::string> preset_names();
std::string preset_help(const std::string& name);  // one line: what it is for

// Throws ArgumentError with the nearest name where there is no such preset. Not resolved yet: a value such as
// model.memory = -1 still follows a later override of model.segment.
Config preset_config(const std::string& name);

}  // namespace weir
