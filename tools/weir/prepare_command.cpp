// weir prepare
#include <fmt/format.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/parallel.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "train/prepare/prepare.h"
#include "train/prepare/sources.h"
#include "train/prepare/text_stream.h"
#include "train/progress.h"

namespace weir {
namespace {

struct PrepareArguments {
  PrepareOptions options;
  std::string tokens;
  std::int64_t threads = 0;
  bool only_mirror = false, json = false, quiet = false;
};

volatile sig_atomic_t stop_requested = 0;
volatile sig_atomic_t may_exit_now = 0;

// The first signal asks for an orderly stop; it ends the process at once where there is nothing to tidy up, and the
// second one always does. What is left behind then, the next `weir prepare` removes.
void on_signal(int) {
  if (stop_requested != 0 || may_exit_now != 0) {
    constexpr char kMessage[] = "weir: stopped; run it again to go on\n";
    if (::write(STDERR_FILENO, kMessage, sizeof kMessage - 1) < 0) _exit(static_cast<int>(ExitCode::stopped));
    _exit(static_cast<int>(ExitCode::stopped));
  }
  stop_requested = 1;
}

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
}

// Messages as lines on stdout; on a terminal the progress below them, in one line that is rewritten.
class ConsoleReporter final : public Reporter {
 public:
  explicit ConsoleReporter(bool quiet) : quiet_(quiet), live_(!quiet && is_live_terminal(stdout)) {}
  ~ConsoleReporter() override { erase(); }

  void message(const std::string& text) override {
    if (quiet_) return;
    erase();
    fmt::print("{}\n", one_line(text));
    std::fflush(stdout);
  }
  void progress(const std::string& text) override {
    using namespace std::chrono;
    const auto now = steady_clock::now();
    if (!live_ || now - drawn_at_ < milliseconds(100)) return;
    drawn_at_ = now;
    winsize window{};
    const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1;
    fmt::print("\r{}\x1b[K", one_line(text).substr(0, known ? window.ws_col - 1u : 79u));
    std::fflush(stdout);
    drawn_ = true;
  }
  bool stop_requested() const override { return weir::stop_requested != 0; }
  void may_exit(bool may) override {
    may_exit_now = may ? 1 : 0;
    if (may && stop_requested()) check_stop();
  }

 private:
  void erase() {
    if (drawn_) fmt::print("\r\x1b[K");
    drawn_ = false;
  }

  const bool quiet_, live_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point drawn_at_{};
};

// "small", "big", or a number.
void read_tokens(PrepareArguments& arguments) {
  const std::string& text = arguments.tokens;
  if (text.empty() || text == "small") return;
  if (text == "big") {
    arguments.options.big = true;
    return;
  }
  const bool digits =
      text.size() <= 15 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  arguments.options.train_tokens = digits ? std::stoll(text) : 0;
  if (arguments.options.train_tokens == 0)
    throw ArgumentError(fmt::format("--tokens: {} is neither small nor big nor a number above 0", quote_short(text)));
}

void print_json(const Prepared& prepared) {
  nlohmann::json object = {{"folder", prepared.folder},
                           {"dataset", prepared.dataset.name},
                           {"tokenizer", prepared.dataset.tokenizer},
                           {"vocabulary", prepared.dataset.vocabulary},
                           {"splits", nlohmann::json::object()}};
  for (const auto& [name, split] : prepared.dataset.splits) {
    nlohmann::json& entry = object["splits"][name] = {{"tokens", split.tokens}};
    if (split.bytes) entry["bytes"] = *split.bytes;
    if (split.words) entry["words"] = *split.words;
  }
  fmt::print("{}\n", object.dump());
}

void run_prepare(PrepareArguments arguments) {
  read_tokens(arguments);
  if (arguments.threads > 0) set_thread_count(static_cast<int>(arguments.threads));
  if (arguments.only_mirror && arguments.options.downloads.mirror.empty())
    throw ArgumentError("--only-mirror: name the mirror with --mirror URL");
  arguments.options.downloads.only_mirror = arguments.only_mirror;
  arguments.options.downloads.user_agent = "weir/" WEIR_VERSION;
  watch_signals();
  ConsoleReporter reporter(arguments.quiet || arguments.json);
  const Prepared prepared = prepare(arguments.options, reporter);
  if (arguments.json) {
    print_json(prepared);
    return;
  }
  std::string words;
  for (const auto& [name, split] : prepared.dataset.splits)
    if (split.words) words += fmt::format("{}{} {}", words.empty() ? "; words: " : ", ", name, *split.words);
  reporter.message(fmt::format("{} is ready: data.train={} model.vocabulary={}{}", printable(prepared.folder, 4096),
                               printable(prepared.folder, 4096), prepared.dataset.vocabulary, words));
}

std::string footer() {
  std::string text = "Data sets:\n";
  for (const Source& source : sources())
    text += fmt::format("  {:<14}{} [{}]\n", source.name, source.title, source.licence);
  text += "  files         texts of yours: --train, --valid, --test\n\nExamples:\n";
  if (have_downloads()) text += "  weir prepare enwik8\n";
  if (have_unpacking()) text += "  weir prepare wikitext-103 --from wikitext-103-v1.zip\n";
  text += "  weir prepare files --train book.txt --valid-fraction 0.05 --tokenizer bytes --out data/book";
  return text;
}

void add_text_options(CLI::App& command, PrepareOptions& options) {
  const std::string packed = have_unpacking() ? ", packed or not" : ", unpacked";
  command.add_option("--from", options.from, "the files of the data set" + packed + ", instead of downloading them");
  command.add_option("--train", options.train, "training texts of 'files'" + packed);
  command.add_option("--valid", options.valid, "validation texts of 'files'");
  command.add_option("--test", options.test, "test texts of 'files'");
  command
      .add_option("--valid-fraction", options.valid_fraction, "instead of --valid: the last part of the training text")
      ->check(CLI::Range(0.0, 0.99));
  command.add_option("--shards", options.shards, "of c4 and peS2o: so many training shards at most")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20));
}

void add_download_options(CLI::App& command, PrepareArguments& arguments) {
  DownloadOptions& downloads = arguments.options.downloads;
  command.add_option("--downloads", downloads.folder, "folder that keeps what was downloaded")->capture_default_str();
  command.add_option("--mirror", downloads.mirror, "address to try first: of the file, or of the folder with it");
  command.add_flag("--only-mirror", arguments.only_mirror, "ask no other address");
  command.add_option("--timeout", downloads.timeout_s, "seconds without an answer after which to try again")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{86400}));
}

}  // namespace

void add_prepare_command(CLI::App& app) {
  CLI::App* const command = app.add_subcommand(
      "prepare", have_downloads() ? "download a data set and turn it into tokens" : "turn a data set into tokens");
  const auto arguments = std::make_shared<PrepareArguments>();
  PrepareOptions& options = arguments->options;
  command->add_option("dataset", options.dataset, "one of the data sets below, or files")->required();
  command->add_option("--out", options.out, "folder to write; default data/NAME");
  command->add_flag("--force", options.replace, "replace a data set that is there");
  add_text_options(*command, options);
  command->add_option("--tokenizer", options.tokenizer,
                      "bytes, train, or a file (.model, .json); default bytes for enwik8 and text8, else train");
  command->add_option("--vocabulary", options.vocabulary, "pieces of a tokenizer that is trained")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{4}, std::int64_t{1'000'000}));
  command->add_option("--tokens", arguments->tokens,
                      "of c4 and peS2o: small or big, as the published models; or a number; default small");
  if (have_downloads()) add_download_options(*command, *arguments);
  command->add_option("--threads", arguments->threads, "default all")->check(CLI::Range(1, 4096));
  command->add_flag("--json", arguments->json, "print one JSON object at the end and nothing else");
  command->add_flag("--quiet", arguments->quiet, "print errors only");
  command->footer(footer());
  command->callback([arguments] { run_prepare(*arguments); });
}

}  // namespace weir
