// weir report: what one or more runs did, as a page to look at or as figures.
#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/file.h"
#include "core/parallel.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"
#include "tools/weir/report/page.h"
#include "tools/weir/report/report_json.h"
#include "train/result_table.h"
#include "train/run_lookup.h"

namespace weir {
namespace {

constexpr std::size_t kMostRuns = 16;        // whose curves can still be told apart
constexpr std::size_t kHeadBytes = 1 << 10;  // of a page: enough to tell it
constexpr std::uint64_t kLargestPage = std::uint64_t{1} << 30;

struct ReportArguments {
  std::vector<std::string> runs;
  std::string out;
  std::int64_t max_tokens = 65536, threads = 0;
  bool json = false, table = false, markdown = false;

  void visit(OptionVisitor& v) {
    v.argument("RUN...", runs, "runs: their folders, or names below runs/; several are drawn over one another");
    v.option("--out FILE", out,
             "file to write, - for standard output; default report.html in the run's folder, of several runs "
             "comparison.html in that of the first");
    v.option("--max-tokens N", max_tokens, {.min = 0, .max = std::int64_t{1} << 48},
             "validation tokens on which the newest checkpoints are analysed; 0: all");
    threads_option(v, threads);
    v.flag("--json", json, "print the figures as one JSON object");
    v.flag("--table", table, "write no page; print the paper's table: variant, G, K, parameters, FLOPs, results");
    v.flag("--markdown", markdown, "print the table in Markdown");
    v.needs("--markdown", "--table");
  }
};

void print_table(const ReportArguments& arguments) {
  const TableFormat format = arguments.json       ? TableFormat::json
                             : arguments.markdown ? TableFormat::markdown
                                                  : TableFormat::text;
  print("{}", result_table(arguments.runs, format));
}

std::string default_place(const std::vector<std::string>& runs) {
  return runs[0] + (runs.size() == 1 ? "/report.html" : "/comparison.html");
}

// A page that shows what the experts of a run do stays where a new one could not, for the data is not there.
void check_as_full(const std::string& out, const Report& report) {
  const auto missing = std::find_if(report.runs.begin(), report.runs.end(),
                                    [](const ReportRun& run) { return !run.analysis.has_value(); });
  if (missing == report.runs.end() || !is_there(out)) return;
  if (!shows_experts(read_file(out, kLargestPage, Empty::allowed))) return;
  throw RunError(ExitCode::bad_data,
                 fmt::format("{}: the page that is there shows what the experts of a run do, which is missing in this "
                             "one ({}); so it stays: name another file with --out, or remove it",
                             printable(out, 4096), missing->missing));
}

// The page takes the place of what is there, so that must be an older page, or empty.
void check_place(const std::string& out) {
  check_replaceable(out);
  if (!is_there(out)) return;
  const RandomAccessFile file(out, Empty::allowed);
  std::string head(std::min<std::uint64_t>(file.size(), kHeadBytes), '\0');
  file.read(0, std::as_writable_bytes(std::span(head)));
  if (!head.empty() && !is_report_page(head))
    throw RunError(ExitCode::io,
                   fmt::format("{}: this file is there already, and is no report of Weir; name another file "
                               "with --out, or remove this one",
                               printable(out, 4096)));
}

void write_page(const ReportArguments& arguments) {
  if (arguments.runs.size() > kMostRuns)
    throw ArgumentError(fmt::format("report: {} runs are more than one page can show; name at most {}",
                                    arguments.runs.size(), kMostRuns));
  if (arguments.threads > 0) set_thread_count(static_cast<int>(arguments.threads));
  const std::string out = arguments.out.empty() ? default_place(arguments.runs) : arguments.out;
  const bool to_output = out == "-";
  if (to_output && arguments.json)
    throw ArgumentError("report: --json prints its object where '--out -' prints the page; name a file with --out");
  if (!to_output) check_place(out);
  const Report report = load_report(arguments.runs, arguments.max_tokens);
  if (!to_output) check_as_full(out, report);
  const std::string page = report_page(report);
  if (to_output) {
    print("{}", page);
    return;
  }
  write_file_atomically(out, page);
  if (arguments.json)
    print("{}\n", report_json(report, out));
  else
    print("the report is in {} ({} kB)\n", printable(out, 4096), (page.size() + 999) / 1000);
}

void run_report(ReportArguments arguments) {
  for (std::string& run : arguments.runs) run = run_to_read(run);
  if (arguments.table)
    print_table(arguments);
  else
    write_page(arguments);
}

}  // namespace

void add_report_command(CommandLine& line) {
  line.add<ReportArguments>("report", "write a page that shows what runs did, and what their experts do", run_report);
}

}  // namespace weir
