// The figures of a report for other programs.
#pragma once

#include <string>

#include "tools/weir/report/report_run.h"

namespace weir {

// One JSON object in one line: the path of the page, what keeps results from being compared, and per run its result and
// what the paper's figures show.
std::string report_json(const Report& report, const std::string& page);

}  // namespace weir
