// The settings of the runs, those first in which they differ, and what the models wrote.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "tools/weir/report/html.h"
#include "tools/weir/report/page.h"

namespace weir {
namespace {

struct Setting {
  std::string key, help;
  std::vector<std::string> values;  // per run, as TOML writes them
  bool differs() const {
    return std::any_of(values.begin(), values.end(), [this](const std::string& v) { return v != values[0]; });
  }
};

std::vector<Setting> settings_of(std::span<const ReportRun> runs) {
  std::vector<Setting> settings;
  for (const ReportRun& run : runs) {
    Config config = run.config;
    const FieldList list = fields_of(config);
    if (settings.empty())
      for (const Field& field : list.fields) settings.push_back({field.key(), field.help, {}});
    for (std::size_t i = 0; i < settings.size(); ++i) settings[i].values.push_back(value_text(list.fields[i]));
  }
  return settings;
}

std::string row(const Setting& setting) {
  std::string html = fmt::format("<tr><td title=\"{}\">{}</td>", html_text(setting.help, 500), html_text(setting.key));
  const std::size_t shown = setting.differs() ? setting.values.size() : 1;
  for (std::size_t i = 0; i < shown; ++i)
    html += fmt::format("<td class=\"text\">{}</td>", html_text(setting.values[i]));
  return html + "</tr>\n";
}

std::string differences(std::span<const ReportRun> runs, const std::vector<Setting>& settings) {
  std::string rows;
  for (const Setting& setting : settings)
    if (setting.differs() && setting.key != "name") rows += row(setting);
  if (rows.empty()) return "<p class=\"quiet\">The runs have the same settings.</p>\n";
  std::string head;
  for (const ReportRun& run : runs) head += fmt::format("<th class=\"left\">{}</th>", html_text(run.name, 60));
  return "<p class=\"quiet\">Those in which the runs differ:</p>\n<div class=\"wide\"><table>\n<tr><th>setting</th>" +
         head + "</tr>\n" + rows + "</table></div>\n";
}

}  // namespace

std::string settings_section(std::span<const ReportRun> runs) {
  const std::vector<Setting> settings = settings_of(runs);
  std::string html = "<section>\n<h2>Settings</h2>\n";
  if (runs.size() > 1) html += differences(runs, settings);
  html += fmt::format("<details><summary>{}</summary>\n<div class=\"wide\"><table>\n",
                      runs.size() == 1 ? "All settings" : "Those they share");
  for (const Setting& setting : settings)
    if (!setting.differs()) html += row(setting);
  return html + "</table></div></details>\n</section>\n";
}

// Of many runs only the last sample each.
std::string samples_section(std::span<const ReportRun> runs) {
  const std::size_t most = runs.size() <= 4 ? SIZE_MAX : 1;
  std::string html;
  for (const ReportRun& run : runs)
    for (const PrintedSample& sample : std::span(run.samples).last(std::min(run.samples.size(), most)))
      html += fmt::format("<h3>{}step {}</h3>\n<pre>{}</pre>\n", runs.size() == 1 ? "" : html_text(run.name) + ", ",
                          html_text(sample.step, 20), html_lines(sample.text));
  return html.empty() ? "" : "<section>\n<h2>What the model writes</h2>\n" + html + "</section>\n";
}

}  // namespace weir
