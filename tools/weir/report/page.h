// The report of one or more runs as one HTML page that needs nothing beside itself.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tools/weir/report/report_run.h"

namespace weir {

std::string report_page(const Report& report);

// Whether such a page has the figures of a run's feedforwards.
bool shows_experts(std::string_view page);

// Whether a file that begins so is such a page.
bool is_report_page(std::string_view head);

// Its parts, each empty where there is nothing to show.
std::string header_section(const Report& report);               // names, results, what the runs are
std::string curves_section(const Report& report);               // loss, learning rate, gradient, throughput
std::string experts_section(std::span<const ReportRun> runs);   // what the feedforwards do
std::string settings_section(std::span<const ReportRun> runs);  // what differs, and everything
std::string samples_section(std::span<const ReportRun> runs);

std::string run_keys(std::span<const ReportRun> runs);  // the colour of each, where there are several

extern const char* const kReportStyle;   // CSS
extern const char* const kReportScript;  // JavaScript: values under the mouse, the switch of the horizontal axis

}  // namespace weir
