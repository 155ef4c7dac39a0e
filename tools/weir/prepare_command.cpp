// weir prepare
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "core/error.h"
#include "core/json_writer.h"
#include "core/parallel.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"
#include "tools/weir/signals.h"
#include "train/prepare/plan.h"
#include "train/prepare/prepare.h"
#include "train/prepare/sources.h"
#include "train/text/text_stream.h"

namespace weir {
namespace {

struct PrepareArguments {
  PrepareOptions options;
  std::string tokens;
  std::int64_t threads = 0, vocabulary = 0;  // 0: as PrepareOptions has it
  bool only_mirror = false, json = false, quiet = false;

  void visit(OptionVisitor& v);
};

std::atomic<bool> may_exit_now{false};

// The first signal asks for an orderly stop; it ends the process at once where there is nothing to tidy up, and the
// second one always does. What is left behind then, the next `weir prepare` removes.
void on_signal(int signals) {
  if (signals == 1 && !may_exit_now) return;
  std::fputs("weir: stopped; run it again to go on\n", stderr);
  exit_stopped();
}

// Messages as lines on stdout; on a terminal the progress below them, in one line that is rewritten.
class ConsoleReporter final : public Reporter {
 public:
  explicit ConsoleReporter(bool quiet) : quiet_(quiet), live_(!quiet && out_.is_live_terminal()) {}
  ~ConsoleReporter() override { erase(); }

  void message(const std::string& text) override {
    if (quiet_) return;
    erase();
    out_.try_write(one_line(text) + "\n");
    out_.try_flush();
  }
  void progress(const std::string& text) override {
    using namespace std::chrono;
    const auto now = steady_clock::now();
    if (!live_ || now - drawn_at_ < milliseconds(100)) return;
    drawn_at_ = now;
    const auto columns = static_cast<std::size_t>(std::max(out_.columns(), 2));
    out_.try_write("\r" + one_line(text).substr(0, columns - 1) + "\x1b[K");
    out_.try_flush();
    drawn_ = true;
  }
  bool stop_requested() const override { return stop_signals() > 0; }
  void may_exit(bool may) override {
    may_exit_now = may;
    if (may && stop_requested()) check_stop();
  }

 private:
  void erase() {
    if (drawn_) out_.try_write("\r\x1b[K");
    drawn_ = false;
  }

  Output& out_ = standard_output();  // whose reader may go: the work goes on
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

void read_vocabulary(PrepareArguments& arguments) {
  if (arguments.vocabulary == 0) return;
  const Source* const source = find_source(arguments.options.dataset);
  const std::string& given = arguments.options.tokenizer;
  if (given.empty() && source != nullptr && source->kind == Source::Kind::bytes)
    throw ArgumentError(
        fmt::format("--vocabulary {}: this is for a tokenizer that is trained, and {} is bytes by default; "
                    "leave it out, or add --tokenizer train",
                    arguments.vocabulary, source->name));
  if (!given.empty() && given != "train")
    throw ArgumentError(
        fmt::format("--vocabulary {}: this is for a tokenizer that is trained, and --tokenizer {} has "
                    "its tokens; leave one of them out",
                    arguments.vocabulary, printable(given, 4096)));
  arguments.options.vocabulary = arguments.vocabulary;
}

void print_json(const Prepared& prepared) {
  JsonObject splits;
  for (const auto& [name, split] : prepared.dataset.splits) {
    JsonObject entry{{"tokens", split.tokens}};
    if (split.bytes) entry["bytes"] = *split.bytes;
    if (split.words) entry["words"] = *split.words;
    if (split.unknown_share > 0) entry["unknown_share"] = split.unknown_share;
    JsonObject mended;
    for (const auto& [what, found] : split.mended)
      mended[what] = JsonObject{{"count", found.count}, {"first", found.first}};
    if (!mended.empty()) entry["mended"] = mended;
    splits[name] = entry;
  }
  const JsonObject object{{"folder", prepared.folder},
                          {"dataset", prepared.dataset.name},
                          {"tokenizer", prepared.dataset.tokenizer},
                          {"vocabulary", prepared.dataset.vocabulary},
                          {"splits", splits}};
  print("{}\n", Json(object).text());
}

void run_prepare(PrepareArguments arguments) {
  take_stop_signals(on_signal);
  read_tokens(arguments);
  if (arguments.threads > 0) set_thread_count(static_cast<int>(arguments.threads));
  if (arguments.only_mirror && arguments.options.downloads.mirror.empty())
    throw ArgumentError("--only-mirror: name the mirror with --mirror URL");
  arguments.options.downloads.only_mirror = arguments.only_mirror;
  read_vocabulary(arguments);
  arguments.options.downloads.user_agent = "weir/" WEIR_VERSION;
  ConsoleReporter reporter(arguments.quiet || arguments.json);
  const Prepared prepared = prepare(arguments.options, reporter);
  if (arguments.json) {
    print_json(prepared);
    return;
  }
  std::string words;
  for (const auto& [name, split] : prepared.dataset.splits)
    if (split.words) words += fmt::format("{}{} {}", words.empty() ? "; words: " : ", ", name, *split.words);
  reporter.message(fmt::format("{} is ready: {}, a vocabulary of {}{}", printable(prepared.folder, 4096),
                               shell_word("data.train=" + prepared.folder), prepared.dataset.vocabulary, words));
}

std::string footer() {
  std::string text = "Data sets:\n";
  const auto row = [&](const std::string& name, const std::string& what) {
    text += fmt::format("  {:<14}{}", name, wrapped(what, std::string(16, ' ')).substr(16));
  };
  for (const Source& source : sources()) row(source.name, fmt::format("{} [{}]", source.title, source.licence));
  row("files", "texts of yours: --train, --valid, --test");
  text += "\nExamples:\n";
  if (have_downloads()) text += "  weir prepare enwik8\n";
  if (have_unpacking()) text += "  weir prepare wikitext-103 --from wikitext-103-v1.zip\n";
  text += "  weir prepare files --train book.txt --valid-fraction 0.05 \\\n      --tokenizer bytes --out data/book";
  return text;
}

void visit_texts(OptionVisitor& v, PrepareOptions& options) {
  const std::string packed = have_unpacking() ? ", packed or not" : ", unpacked";
  v.option("--from FILE...", options.from, "the files of the data set" + packed + ", instead of downloading them");
  v.option("--train FILE...", options.train, "training texts of 'files'" + packed);
  v.option("--valid FILE...", options.valid, "validation texts of 'files'");
  v.option("--test FILE...", options.test, "test texts of 'files'");
  v.option("--valid-fraction P", options.valid_fraction, {.min = 0, .max = 0.99},
           "instead of --valid: the last part of the training text");
  v.option("--encoding NAME", options.encoding, {"utf-8", "bytes"},
           "of texts of 'files'; bytes takes any file as it is");
  v.option("--shards N", options.shards, {.min = 1, .max = 1 << 20},
           "of c4 and peS2o: at most this many training shards");
}

void visit_downloads(OptionVisitor& v, PrepareArguments& arguments) {
  DownloadOptions& downloads = arguments.options.downloads;
  v.option("--downloads DIR", downloads.folder, "folder that keeps what was downloaded");
  v.option("--mirror URL", downloads.mirror, "address to try first: of the file, or of the folder with it");
  v.flag("--only-mirror", arguments.only_mirror, "ask no other address");
  v.option("--timeout SECONDS", downloads.timeout_s, {.min = 1, .max = 86400},
           "try again after this many seconds without an answer");
}

void PrepareArguments::visit(OptionVisitor& v) {
  std::string names;
  for (const Source& source : sources()) names += source.name + ", ";
  v.argument("DATASET", options.dataset, names + "or files, for texts of yours");
  v.surplus([this](std::vector<std::string> words) {
    if (find_source(options.dataset) != nullptr)
      return "its files are named with --from: " + command_for(options.dataset, words);
    if (options.dataset != "files") words.insert(words.begin(), options.dataset);
    return "texts are named with --train: " + command_for("files", words);
  });
  v.option("--out DIR", options.out, "folder to write; default data/NAME");
  v.flag("--force", options.replace, "replace a data set that is there");
  visit_texts(v, options);
  v.option("--tokenizer NAME", options.tokenizer,
           "bytes, train, or a file (.model, .json); default bytes for enwik8 and text8, else train");
  v.option("--vocabulary N", vocabulary, {.min = 4, .max = 1'000'000},
           "pieces of a tokenizer that is trained; default 8000");
  v.option("--tokens N", tokens,
           "training tokens of c4 and peS2o: small or big, as for the published models, or a number; default small");
  if (have_downloads()) visit_downloads(v, *this);
  threads_option(v, threads);
  v.flag("--json", json, "print one JSON object at the end and nothing else");
  v.flag("--quiet", quiet, "print errors only");
  v.footer(footer());
}

}  // namespace

void add_prepare_command(CommandLine& line) {
  line.add<PrepareArguments>(
      "prepare", have_downloads() ? "download a data set and turn it into tokens" : "turn a data set into tokens",
      run_prepare);
}

}  // namespace weir
