// weir report: what one or more runs did, as a page to look at or as figures.
#include <fmt/format.h>

#include "core/error.h"
#include "core/file.h"
#include "core/parallel.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/report/page.h"
#include "tools/weir/report/report_json.h"
#include "train/result_table.h"

namespace weir {
namespace {

constexpr std::size_t kMostRuns = 16;  // whose curves can still be told apart

struct ReportArguments {
  std::vector<std::string> runs;
  std::string out;
  std::int64_t max_tokens = 65536, threads = 0;
  bool json = false, table = false, markdown = false;
};

// The names that tell the runs apart: those of the folders, or the whole paths where two folders are called the same.
void make_names_distinct(std::vector<ReportRun>& runs) {
  for (std::size_t i = 0; i < runs.size(); ++i)
    for (std::size_t j = 0; j < runs.size(); ++j)
      if (i != j && runs[i].name == runs[j].name) {
        for (ReportRun& run : runs) run.name = run.path;
        return;
      }
}

void print_table(const ReportArguments& arguments) {
  const TableFormat format = arguments.json       ? TableFormat::json
                             : arguments.markdown ? TableFormat::markdown
                                                  : TableFormat::text;
  fmt::print("{}", result_table(arguments.runs, format));
}

void write_page(const ReportArguments& arguments) {
  if (arguments.runs.size() > kMostRuns)
    throw ArgumentError(fmt::format("report: {} runs are more than one page can show; name at most {}",
                                    arguments.runs.size(), kMostRuns));
  if (arguments.threads > 0) set_thread_count(static_cast<int>(arguments.threads));
  std::vector<ReportRun> runs;
  for (const std::string& path : arguments.runs) runs.push_back(load_report_run(path, arguments.max_tokens));
  make_names_distinct(runs);
  const std::string page = report_page(runs),
                    out = arguments.out.empty() ? runs[0].path + "/report.html" : arguments.out;
  write_file_atomically(out, page);
  if (arguments.json)
    fmt::print("{}\n", report_json(runs, out));
  else
    fmt::print("the report is in {} ({} kB)\n", printable(out, 4096), (page.size() + 999) / 1000);
}

void run_report(const ReportArguments& arguments) {
  if (arguments.table)
    print_table(arguments);
  else
    write_page(arguments);
}

}  // namespace

void add_report_command(CLI::App& app) {
  CLI::App* const command =
      app.add_subcommand("report", "write a page that shows what runs did, and what their experts do");
  const auto arguments = std::make_shared<ReportArguments>();
  command->add_option("runs", arguments->runs, "run folders; several are drawn over one another")->required();
  command->add_option("--out", arguments->out, "file to write; default report.html in the first run folder");
  command
      ->add_option("--max-tokens", arguments->max_tokens,
                   "validation tokens on which the newest checkpoints are analysed; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 48));
  command->add_option("--threads", arguments->threads, "default all")->check(CLI::Range(1, 4096));
  command->add_flag("--json", arguments->json, "print the figures as one JSON object");
  CLI::Option* const table = command->add_flag(
      "--table", arguments->table, "write no page; print the paper's table: variant, G, K, parameters, FLOPs, results");
  command->add_flag("--markdown", arguments->markdown, "print the table in Markdown")->needs(table);
  command->callback([arguments] { run_report(*arguments); });
}

}  // namespace weir
