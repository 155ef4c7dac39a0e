#include "tools/weir/report/page.h"

#include <fmt/format.h>

#include "tools/weir/report/html.h"

namespace weir {

// The policy lets the page load nothing, wherever it is opened.
std::string report_page(std::span<const ReportRun> runs) {
  const std::string title =
      runs.size() == 1 ? runs[0].name : fmt::format("{} and {} more", runs[0].name, runs.size() - 1);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" "
      "content=\"light dark\">\n<title>{} · Weir report</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n{}{}{}{}{}"
      "</main>\n<script>{}</script>\n</body>\n</html>\n",
      html_text(title), kReportStyle, header_section(runs), curves_section(runs), experts_section(runs),
      settings_section(runs), samples_section(runs), kReportScript);
}

}  // namespace weir
