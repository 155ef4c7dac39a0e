// The report of one or more runs as one HTML page that needs nothing beside itself.
#pragma once

#include <span>
#include <string>

#include "tools/weir/report/report_run.h"

namespace weir {

std::string report_page(std::span<const ReportRun> runs);

// Its parts, each empty where there is nothing to show.
std::string header_section(std::span<const ReportRun> runs);    // names, results, what the runs are
std::string curves_section(std::span<const ReportRun> runs);    // loss, learning rate, gradient, throughput
std::string experts_section(std::span<const ReportRun> runs);   // what the feedforwards do
std::string settings_section(std::span<const ReportRun> runs);  // what differs, and everything
std::string samples_section(std::span<const ReportRun> runs);

extern const char* const kReportStyle;   // CSS
extern const char* const kReportScript;  // JavaScript: values under the mouse

}  // namespace weir
