// weir sweep
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "core/error.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/print.h"
#include "tools/weir/signals.h"
#include "tools/weir/sweep.h"

namespace weir {
namespace {

struct Arguments {
  SweepArguments sweep;
  std::int64_t jobs = 0;
  bool json = false, markdown = false, table = false, quiet = false;

  void visit(OptionVisitor& v) {
    v.argument("FILE", sweep.file, "a .toml file with [[variant]] tables");
    v.argument("[SECTION.KEY=VALUE...]", sweep.overrides, "settings for every variant");
    v.settings([](const std::string& option, const std::string& value) {
      return option == "--resume" ? "the same command goes on where it was stopped" : setting_hint(option, value);
    });
    v.option("--run DIR", sweep.folder, "folder of the runs; default runs/NAME");
    v.option("--jobs N", jobs, {.min = 1, .max = 4096}, "processes at a time; default as many as fill the cores");
    v.option("--only NAME,...", sweep.only, "train only these variants, separated by commas");
    v.option("--seeds N", sweep.seeds, {.min = 1, .max = 1000}, "runs per variant; default as the file says");
    v.flag("--table", table, "train nothing, print the table of what is there");
    v.flag("--json", json, "print the table as one JSON object and nothing else");
    v.flag("--markdown", markdown, "print the table in Markdown and nothing else");
    v.excludes("--markdown", {"--json"});
    v.flag("--quiet", quiet, "print the table and errors only");
    v.footer(
        "The same command goes on where it was stopped: finished runs stay, others\n"
        "resume.\n"
        "Example:\n  weir sweep table.toml data.train=book.txt --jobs 2");
  }
};

TableFormat format_of(const Arguments& a) {
  return a.json ? TableFormat::json : a.markdown ? TableFormat::markdown : TableFormat::text;
}

// As many processes as fill the cores.
std::int64_t default_jobs(const Sweep& sweep) {
  std::int64_t threads = 1;
  for (const SweepVariant& variant : sweep.variants) threads = std::max(threads, variant.config.train.threads);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::thread::hardware_concurrency()) / threads);
}

std::string same_command(const Arguments& a) {
  std::string command = "weir sweep " + shell_word(a.sweep.file);
  for (const std::string& change : a.sweep.overrides) command += " " + shell_word(change);
  if (!a.sweep.folder.empty()) command += " --run " + shell_word(a.sweep.folder);
  if (!a.sweep.only.empty()) command += " --only " + shell_word(join(a.sweep.only, ","));
  if (a.sweep.seeds > 0) command += fmt::format(" --seeds {}", a.sweep.seeds);
  if (a.jobs > 0) command += fmt::format(" --jobs {}", a.jobs);
  return command;
}

// A run that diverged goes on from its last good checkpoint, with the same settings and to the same end.
std::string cure(const SweepOutcome& outcome, const std::string& file) {
  const std::string again = "the same command tries them again";
  if (outcome.diverged == 0) return again;
  return fmt::format(
      "{}, but a run that diverged would do so again: lower optimizer.lr in {}, and move the folder of "
      "that run away first",
      again, printable(file, 4096));
}

void run_command(const Arguments& a) {
  const Sweep sweep = load_sweep(a.sweep);
  if (a.table) {
    check_any_run(sweep);
    print("{}", sweep_table(sweep, format_of(a)));
    return;
  }
  // The runs save at the first signal and end at the second; a third one ends a sweep that cannot wait for them.
  take_stop_signals([](int signals) {
    if (signals > 2) exit_stopped();
  });
  check_before_sweep(sweep);
  const bool only_table = a.quiet || a.json || a.markdown;
  const SweepOutcome outcome = run_sweep(sweep, a.jobs > 0 ? a.jobs : default_jobs(sweep), only_table);
  // Whoever has stopped reading does not change how the sweep ends.
  standard_output().try_write((only_table ? "" : "\n") + sweep_table(sweep, format_of(a)));
  if (outcome.stopped) throw RunError(ExitCode::stopped, fmt::format("stopped; continue with: {}", same_command(a)));
  if (!outcome.failed.empty())
    throw RunError(static_cast<ExitCode>(outcome.failed_code),
                   fmt::format("{} of {} failed, the first was {}; {}", outcome.failed.size(),
                               counted(sweep.runs.size(), "run"), outcome.failed.front(), cure(outcome, a.sweep.file)));
}

}  // namespace

void add_sweep_command(CommandLine& line) {
  line.add<Arguments>("sweep", "train variants of a model with several seeds each", run_command);
}

}  // namespace weir
