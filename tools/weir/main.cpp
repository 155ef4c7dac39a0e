// The `weir` command: reads the command line, runs one sub-command, turns errors into one line and an exit code.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <new>

#include "core/error.h"
#include "core/output.h"
#include "core/parallel.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/signals.h"
#include "train/append_file.h"
#include "train/training_setup.h"

namespace weir {
namespace {

CommandLine command_line() {
  CommandLine line("weir", WEIR_VERSION, "Weir trains and runs sparse Transformer-XL language models.",
                   "'weir COMMAND --help' and 'weir help COMMAND' tell more about one.\n\n"
                   "Exit codes: 0 done, 2 usage or configuration, 65 bad data or checkpoint,\n"
                   "69 device not available, 70 bug in weir, 71 out of memory, 74 input or output,\n"
                   "75 stopped by a signal (run again with --resume), 77 diverged.");
  add_prepare_command(line);
  add_train_command(line);
  add_sweep_command(line);
  add_eval_command(line);
  add_generate_command(line);
  add_report_command(line);
  add_presets_command(line);
  add_inspect_command(line);
  add_bench_command(line);
  add_tokenize_command(line);
  add_text_command(line);
  return line;
}

// What was printed before comes first. Messages may quote what the user or a file said: shown in one line, without
// control characters. Of a reader who has gone, ExitCode::success, there is nothing to say.
int fail(ExitCode code, const std::string& message) {
  standard_output().try_flush();
  if (code != ExitCode::success) std::fprintf(stderr, "weir: %s\n", one_line(message).c_str());
  return static_cast<int>(code);
}

// What a user can lower where memory was refused, by the command's first words; the library below knows no settings.
struct MemoryAdvice {
  std::string_view command, advice;
};
constexpr std::string_view kLessTraining =
    "lower train.batch_size or model.segment, raise train.accumulate, set model.checkpoint_activations=true, choose a "
    "smaller model";
constexpr MemoryAdvice kMemoryAdvice[] = {
    {"train", kLessTraining},
    {"sweep", kLessTraining},
    {"eval", "lower --batch-size or --memory"},
    {"bench attention", "lower --batch, --segment, --memory, --heads or --head-size"},
    {"bench feedforward", "lower --tokens, --d-model, --experts or --expert-size"},
    {"bench gemm", "lower --m, --n or --k"},
    {"bench memory", "lower --rows, --d-model, --vocabulary, --parameters or --copy"},
    {"bench pkm", "lower --tokens, --d-model, --sub-keys, --heads or --k"},
    {"bench step", kLessTraining},
};

std::string memory_advice(const std::vector<std::string>& words) {
  constexpr std::string_view kOthers = "end other programs, or raise the limit (ulimit -v, or the control group's)";
  const auto has = [&](const char* word) { return std::find(words.begin(), words.end(), word) != words.end(); };
  std::string command = words.empty() ? "" : words[0];
  if (command == "train" && has("--resume"))  // the rest is fixed
    return fmt::format("set model.checkpoint_activations=true, {}", kOthers);
  if (command == "bench" && words.size() > 1) command += " " + words[1];
  for (const MemoryAdvice& one : kMemoryAdvice)
    if (one.command == command) return fmt::format("{}, {}", one.advice, kOthers);
  return std::string(kOthers);
}

void warn_of_refused_threads(int asked, int granted) {
  warn_on_stderr(
      fmt::format("{} threads asked for, {} granted: the results are the same, but take longer; raise the "
                  "limit (ulimit -u, ulimit -v, or the control group's), or ask for fewer with train.threads "
                  "or --threads",
                  asked, granted));
}

// glibc sets aside 64 MiB of addresses for every thread that allocates, and twice as many for a moment. Where addresses
// are limited (ulimit -v), all threads share one arena: there is more to train with, and oneDNN, which crashes where it
// gets no memory to write its code to, is not refused because of another thread's moment.
void spare_addresses() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) mallopt(M_ARENA_MAX, 1);
}

int run(const std::vector<std::string>& words) {
  try {
    command_line().run(words);
    standard_output().finish();
    return 0;
  } catch (const ModelTooLarge& error) {
    return fail(error.code(), error.what());
  } catch (const Error& error) {
    if (error.code() == ExitCode::out_of_memory)
      return fail(error.code(), fmt::format("{}; {}", error.what(), memory_advice(words)));
    return fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(ExitCode::out_of_memory, fmt::format("out of memory; {}", memory_advice(words)));
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(ExitCode::io, printable(error.path1().string()) + ": " + error.code().message() +
                                  "; check the path and its permissions");
  } catch (const std::exception& error) {
    return fail(ExitCode::internal, error.what());
  }
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  weir::spare_addresses();
  weir::prepare_standard_descriptors();
  weir::ignore_write_signals();
  weir::on_refused_threads(weir::warn_of_refused_threads);
  return weir::run({argv + (argc > 0 ? 1 : 0), argv + argc});
}
