// The `weir` command: reads the command line, runs one sub-command, turns errors into one line and an exit code.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <new>

#include "core/error.h"
#include "core/text.h"
#include "tools/weir/commands.h"

namespace {

// Messages may quote what the user or a file said: shown in one line, without control characters.
int fail(weir::ExitCode code, const std::string& message) {
  fmt::print(stderr, "weir: {}\n", weir::one_line(message));
  return static_cast<int>(code);
}

// CLI11's own help and parse errors. Help is success; everything else is a usage error.
int report_parse(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  return fail(weir::ExitCode::usage, fmt::format("{}; see 'weir --help' or 'weir COMMAND --help'", error.what()));
}

// CLI11 would only say that a command is missing.
void check_command(const CLI::App& app, const std::string& name) {
  std::vector<std::string> known;
  for (const CLI::App* command : app.get_subcommands({})) known.push_back(command->get_name());
  if (name.empty() || name.starts_with('-') || std::find(known.begin(), known.end(), name) != known.end()) return;
  throw weir::ArgumentError(fmt::format("there is no command {}{}; see 'weir --help'", weir::quote_short(name),
                                        weir::did_you_mean(name, known)));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Weir trains and runs sparse Transformer-XL language models.", "weir");
  app.set_version_flag("--version", "weir " WEIR_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 2 usage or configuration, 65 bad data or checkpoint, 69 device not available,\n"
      "70 bug in weir, 71 out of memory, 74 input or output, 75 stopped by a signal (run again with --resume),\n"
      "77 diverged.");
  weir::add_prepare_command(app);
  weir::add_train_command(app);
  weir::add_sweep_command(app);
  weir::add_eval_command(app);
  weir::add_generate_command(app);
  weir::add_presets_command(app);
  weir::add_inspect_command(app);
  weir::add_bench_command(app);
  weir::add_tokenize_command(app);
  try {
    check_command(app, argc > 1 ? argv[1] : "");
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return report_parse(app, error);
  } catch (const weir::Error& error) {
    return fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(weir::ExitCode::out_of_memory, "out of memory; lower train.batch_size or model.segment");
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(weir::ExitCode::io, fmt::format("{}: {}; check the path and its permissions",
                                                weir::printable(error.path1().string()), error.code().message()));
  } catch (const std::exception& error) {
    return fail(weir::ExitCode::internal, error.what());
  }
}
