#include "tools/weir/report/page.h"

#include <fmt/format.h>

#include "tools/weir/report/html.h"

namespace weir {
namespace {

constexpr std::string_view kGenerator = "<meta name=\"generator\" content=\"Weir report\">";
constexpr std::string_view kOlderTitle = " · Weir report</title>";  // of pages without that line

}  // namespace

bool is_report_page(std::string_view head) {
  return head.starts_with("<!DOCTYPE html>") &&
         (head.find(kGenerator) != std::string_view::npos || head.find(kOlderTitle) != std::string_view::npos);
}

bool shows_experts(std::string_view page) { return page.find("<summary>Figures per layer") != std::string_view::npos; }

// The policy lets the page load nothing, wherever it is opened.
std::string report_page(const Report& report) {
  const std::vector<ReportRun>& runs = report.runs;
  const std::string title =
      runs.size() == 1 ? runs[0].name : fmt::format("{} and {} more", runs[0].name, runs.size() - 1);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{}\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" "
      "content=\"light dark\">\n<title>{} · Weir report</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n{}{}{}{}{}"
      "</main>\n<script>{}</script>\n</body>\n</html>\n",
      kGenerator, html_text(title), kReportStyle, header_section(report), curves_section(report), experts_section(runs),
      settings_section(runs), samples_section(runs), kReportScript);
}

}  // namespace weir
