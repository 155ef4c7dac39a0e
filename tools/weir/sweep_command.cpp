// weir sweep
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "core/error.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/sweep.h"

namespace weir {
namespace {

struct Arguments {
  SweepArguments sweep;
  std::int64_t jobs = 0;
  bool json = false, markdown = false, table = false, quiet = false;
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

// A word as a shell takes it.
std::string shell_word(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("-_./=,:+").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return word;
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
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

void run_command(const Arguments& a) {
  const Sweep sweep = load_sweep(a.sweep);
  if (a.table) {
    fmt::print("{}", sweep_table(sweep, format_of(a)));
    return;
  }
  check_before_sweep(sweep);
  const bool only_table = a.quiet || a.json || a.markdown;
  const SweepOutcome outcome = run_sweep(sweep, a.jobs > 0 ? a.jobs : default_jobs(sweep), only_table);
  if (!only_table) fmt::print("\n");
  fmt::print("{}", sweep_table(sweep, format_of(a)));
  if (outcome.stopped) throw RunError(ExitCode::stopped, fmt::format("stopped; continue with '{}'", same_command(a)));
  if (!outcome.failed.empty())
    throw RunError(static_cast<ExitCode>(outcome.failed_code),
                   fmt::format("{} of {} runs failed, the first was {}; the same command tries them again",
                               outcome.failed.size(), sweep.runs.size(), outcome.failed.front()));
}

}  // namespace

void add_sweep_command(CLI::App& app) {
  CLI::App* const command = app.add_subcommand("sweep", "train variants of a model with several seeds each");
  const auto arguments = std::make_shared<Arguments>();
  command->add_option("file", arguments->sweep.file, "a .toml file with [[variant]] tables")->required();
  command->add_option("overrides", arguments->sweep.overrides, "settings for every variant, as section.key=value");
  command->add_option("--run", arguments->sweep.folder, "folder of the runs; default runs/NAME");
  command->add_option("--jobs", arguments->jobs, "processes at a time; default as many as fill the cores")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}));
  command->add_option("--only", arguments->sweep.only, "train only these variants, separated by commas")
      ->delimiter(',');
  command->add_option("--seeds", arguments->sweep.seeds, "runs per variant; default as the file says")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000}));
  command->add_flag("--table", arguments->table, "train nothing, print the table of what is there");
  command->add_flag("--json", arguments->json, "print the table as one JSON object and nothing else");
  command->add_flag("--markdown", arguments->markdown, "print the table in Markdown and nothing else")
      ->excludes("--json");
  command->add_flag("--quiet", arguments->quiet, "print the table and errors only");
  command->footer(
      "The same command goes on where it was stopped: finished runs stay, others resume.\n"
      "Example:\n  weir sweep table.toml data.train=book.txt --jobs 2");
  command->callback([arguments] { run_command(*arguments); });
}

}  // namespace weir
