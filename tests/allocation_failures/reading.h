// Files of each kind that Weir reads, and the reading of each.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace weir {

struct Reading {
  const char* name;
  std::function<double()> run;  // the same number each time
};

// Writes the files into `folder`.
std::vector<Reading> readings(const std::string& folder);

}  // namespace weir
