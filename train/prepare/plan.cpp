#include "train/prepare/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "train/prepare/digest.h"
#include "train/prepare/expected_size.h"
#include "train/prepare/sources.h"

namespace weir {
namespace {

constexpr std::int64_t kSplitBytes[] = {90'000'000, 5'000'000, 5'000'000};  // of enwik8 and text8
const TextOptions kJsonLines{TextContent::json_lines, ""};
constexpr std::uint64_t kPackedText = 4;  // bytes of JSON lines that come out of one that is packed, about
constexpr const char* kSplitNames[] = {"train", "valid", "test"};

std::string base_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

// --- streams made of streams ----------------------------------------------------------------------------------------

// Counts what passes, and computes its digest where that can be done.
class ObservedText final : public TextStream {
 public:
  explicit ObservedText(std::unique_ptr<TextStream> text)
      : text_(std::move(text)), digest_(have_digest() ? make_sha256() : nullptr) {}
  std::size_t read(std::span<char> into) override {
    const std::size_t n = text_->read(into);
    bytes_ += n;
    if (digest_) digest_->update(into.first(n));
    return n;
  }
  const std::string& label() const override { return text_->label(); }
  std::uint64_t bytes() const { return bytes_; }
  std::string finish() { return digest_ ? digest_->finish() : ""; }

 private:
  std::unique_ptr<TextStream> text_;
  std::unique_ptr<Digest> digest_;
  std::uint64_t bytes_ = 0;
};

// The next `bytes` of a text that others go on reading, and with `whole_lines` what is left of the line then.
class PartOfText final : public TextStream {
 public:
  PartOfText(std::shared_ptr<TextStream> text, std::uint64_t bytes, bool whole_lines)
      : text_(std::move(text)), left_(bytes), inside_line_(whole_lines) {}
  std::size_t read(std::span<char> into) override {
    if (left_ > 0) {
      const std::size_t n = text_->read(into.first(std::min<std::uint64_t>(left_, into.size())));
      left_ = n == 0 ? 0 : left_ - n;
      if (n > 0 && left_ == 0 && into[n - 1] == '\n') inside_line_ = false;
      if (n > 0) return n;
    }
    if (!inside_line_ || text_->read(into.first(1)) == 0) return 0;
    inside_line_ = into[0] != '\n';
    return 1;
  }
  const std::string& label() const override { return text_->label(); }

 private:
  std::shared_ptr<TextStream> text_;
  std::uint64_t left_;
  bool inside_line_;
};

// Files one after another, as `cat` would have them.
class FilesText final : public TextStream {
 public:
  FilesText(std::vector<std::string> paths, TextOptions options)
      : paths_(std::move(paths)), options_(std::move(options)) {
    open();
  }
  std::size_t read(std::span<char> into) override {
    for (;;) {
      if (const std::size_t n = text_->read(into); n > 0) return n;
      if (next_ == paths_.size()) return 0;
      open();
    }
  }
  const std::string& label() const override { return text_->label(); }

 private:
  void open() { text_ = open_text(paths_[next_++], options_); }

  std::vector<std::string> paths_;
  TextOptions options_;
  std::size_t next_ = 0;
  std::unique_ptr<TextStream> text_;
};

// Reads a text to its end; the number of its bytes.
std::uint64_t read_through(TextStream& text, TextSample& sample, Reporter& reporter) {
  std::string piece(TextSample::kPieceBytes, '\0');
  std::uint64_t bytes = 0;
  for (std::size_t n = piece.size(); n == piece.size(); bytes += n) {
    reporter.check_stop();
    n = 0;
    for (std::size_t more; n < piece.size() && (more = text.read(std::span(piece).subspan(n))) > 0;) n += more;
    sample.add(std::string_view(piece).substr(0, n));
  }
  return bytes;
}

// Pieces of the beginning of a text that is much the same everywhere.
std::string sample_of(std::unique_ptr<TextStream> text, Reporter& reporter) {
  TextSample sample;
  PartOfText beginning(std::move(text), std::uint64_t{1} << 19, false);
  read_through(beginning, sample, reporter);
  return sample.text();
}

NextText once(std::function<std::unique_ptr<TextStream>()> open) {
  return [open = std::move(open), done = false]() mutable { return std::exchange(done, true) ? nullptr : open(); };
}

// --- files, given or downloaded -------------------------------------------------------------------------------------

class Inputs {
 public:
  Inputs(const PrepareOptions& options, Reporter& reporter) : options_(options), reporter_(reporter) {}

  std::string fetch(const RemoteFile& file) {
    const std::string path = download(file, options_.downloads, reporter_);
    note(path, file.sha256);
    return path;
  }
  std::string given(const std::string& path) {
    note(path, "");
    return path;
  }
  void note(const std::string& path, std::string sha256) {
    if (sha256.empty() && have_digest()) {
      reporter_.progress(fmt::format("{}: computing its SHA-256", printable(path)));
      sha256 = sha256_of_file(path, reporter_);
    }
    origin[base_name(path)] = sha256.empty() ? "SHA-256 not computed" : "SHA-256 " + sha256;
  }

  std::map<std::string, std::string> origin;

 private:
  const PrepareOptions& options_;
  Reporter& reporter_;
};

std::string source_facts_error(const std::string& dataset, const std::string& expected, std::size_t count) {
  return fmt::format("{}: --from takes {}, got {}", dataset, expected, counted(count, "file"));
}

// The files whose names say that they belong to a split.
std::vector<std::string> files_of(const std::vector<std::string>& paths, const std::string& split) {
  std::vector<std::string> found;
  for (const std::string& path : paths) {
    const std::string name = base_name(path);
    const auto* const first = std::find_if(std::begin(kSplitNames), std::end(kSplitNames),
                                           [&](const char* each) { return name.find(each) != std::string::npos; });
    if (first == std::end(kSplitNames))
      throw ArgumentError(
          fmt::format("--from {}: the file's name says neither train nor valid nor test, so it is not "
                      "known what it is for; rename it",
                      printable(path, 4096)));
    if (*first == split) found.push_back(path);
  }
  return found;
}

// --- one kind of data set each --------------------------------------------------------------------------------------

void plan_bytes(Plan& plan, const Source& source, const PrepareOptions& options, std::shared_ptr<Inputs> inputs,
                Reporter& reporter) {
  if (options.from.size() > 1) throw ArgumentError(source_facts_error(source.name, "one file", options.from.size()));
  const std::string path = options.from.empty() ? inputs->fetch(source.train[0]) : inputs->given(options.from[0]);
  plan.tokenizer = "bytes";
  const auto open = [path, member = source.name] { return open_text(path, {}, member); };
  const auto text = std::make_shared<ObservedText>(open());
  for (int i = 0; i < 3; ++i)
    plan.splits.push_back(
        {kSplitNames[i], once([text, i] { return std::make_unique<PartOfText>(text, kSplitBytes[i], false); })});
  plan.tokenizer_texts = once([open] { return std::make_unique<PartOfText>(open(), kSplitBytes[0], false); });
  plan.sample = sample_of(open(), reporter);
  plan.origin = [inputs, text, &source, &reporter] {
    char more = 0;
    const bool longer = text->read({&more, 1}) > 0;
    if (longer || text->bytes() != source.text_bytes)
      throw RunError(
          ExitCode::bad_data,
          fmt::format("{}: it has {}, but {} has {}; check that it is the right file", text->label(),
                      longer ? "more than " + counted(source.text_bytes, "byte") : counted(text->bytes(), "byte"),
                      source.name, source.text_bytes));
    const std::string digest = text->finish();
    if (!digest.empty() && !source.text_sha256.empty() && digest != source.text_sha256) {
      reporter.message(fmt::format("note: this is not the published {}: its SHA-256 is another", source.name));
      inputs->origin["note"] = "not the published text";
    }
    return inputs->origin;
  };
}

void plan_words(Plan& plan, const Source& source, const PrepareOptions& options, std::shared_ptr<Inputs> inputs,
                Reporter& reporter) {
  plan.tokenizer = "train";
  plan.counts_words = true;
  const std::vector<std::string>& from = options.from;
  std::map<std::string, std::string> paths;  // per split
  if (from.size() <= 1) {
    const std::string path = from.empty() ? inputs->fetch(source.train[0]) : inputs->given(from[0]);
    for (const char* split : kSplitNames) paths[split] = path;
  } else {
    for (const char* split : kSplitNames) {
      const std::vector<std::string> found = files_of(from, split);
      if (found.size() != 1)
        throw ArgumentError(source_facts_error(
            source.name, "the archive, or three files named after train, valid and test", from.size()));
      paths[split] = inputs->given(found[0]);
    }
  }
  const bool alone = paths["train"] == paths["valid"];
  if (alone && !is_packed(paths["train"]))
    throw RunError(ExitCode::bad_data, fmt::format("{}: this is not a zip archive; give {}, or its three files",
                                                   printable(paths["train"], 4096), source.train[0].name));
  const auto open = [paths, alone](const std::string& split) {
    return open_text(paths.at(split), {}, alone ? fmt::format("wiki.{}.tokens", split) : "");
  };
  for (const char* split : kSplitNames) {
    open(split);  // a member that is missing is found now
    plan.splits.push_back({split, once([open, split] { return open(split); })});
  }
  plan.tokenizer_texts = once([open] { return open("train"); });
  plan.sample = sample_of(open("train"), reporter);
}

// Training shards are downloaded when the tokens of those before are not enough.
NextText shard_supply(std::shared_ptr<Inputs> inputs, std::vector<std::string> paths, std::vector<RemoteFile> remote,
                      std::size_t limit) {
  return [=, next = std::size_t{0}]() mutable -> std::unique_ptr<TextStream> {
    const std::size_t count = std::min(limit, paths.empty() ? remote.size() : paths.size());
    if (next == count) return nullptr;
    const std::size_t i = next++;
    return open_text(paths.empty() ? inputs->fetch(remote[i]) : inputs->given(paths[i]), kJsonLines);
  };
}

void plan_documents(Plan& plan, const Source& source, const PrepareOptions& options, std::shared_ptr<Inputs> inputs) {
  plan.tokenizer = "train";
  plan.documents = true;
  std::vector<std::string> train, valid;
  if (!options.from.empty()) {
    train = files_of(options.from, "train");
    valid = files_of(options.from, "valid");
    if (train.empty() || valid.empty())
      throw ArgumentError(
          source_facts_error(source.name, "training and validation shards, told by their names", options.from.size()));
    for (const std::string& path : options.from) {
      open_text(path, kJsonLines);  // those that cannot be read are found now
      plan.text_bytes += (is_packed(path) ? kPackedText : 1) * std::filesystem::file_size(path);
    }
  }
  const std::size_t shards =
      options.shards > 0 ? static_cast<std::size_t>(options.shards) : std::numeric_limits<std::size_t>::max();
  const std::int64_t published = options.big ? kTrainTokensBig : kTrainTokensSmall;
  plan.splits.push_back({"train", shard_supply(inputs, train, source.train, shards),
                         options.train_tokens > 0 ? options.train_tokens : published});
  plan.splits.push_back({"valid", shard_supply(inputs, valid, source.valid, source.valid.size()),
                         options.big ? source.valid_tokens_big : source.valid_tokens_small});
  plan.tokenizer_texts = shard_supply(inputs, train, source.train, std::min(shards, source.tokenizer_shards));
}

void note_json_lines(const std::string& path, const TextOptions& options, Reporter& reporter) {
  if (seems_json_lines(path, options)) reporter.message("note: " + json_lines_note(path));
}

void plan_files(Plan& plan, const PrepareOptions& options, std::shared_ptr<Inputs> inputs, Reporter& reporter) {
  if (options.train.empty()) throw ArgumentError("files: name the training texts with --train FILE...");
  if (!options.valid.empty() && options.valid_fraction > 0)
    throw ArgumentError("--valid and --valid-fraction exclude each other; give one of them");
  plan.tokenizer = "train";
  for (const auto* paths : {&options.train, &options.valid, &options.test})
    for (const std::string& path : *paths) inputs->given(path);
  const TextOptions texts{text_content(options.encoding), "--encoding bytes"};
  for (const auto* paths : {&options.train, &options.valid, &options.test})
    for (const std::string& path : *paths) note_json_lines(path, texts, reporter);
  const auto open = [texts](const std::vector<std::string>& paths) {
    return std::make_unique<FilesText>(paths, texts);
  };
  TextSample sample;
  std::uint64_t train_bytes = 0;
  for (const auto* paths : {&options.train, &options.valid, &options.test}) {
    if (paths->empty()) continue;
    plan.text_bytes += read_through(*open(*paths), sample, reporter);  // what is no text is found now
    if (paths == &options.train) train_bytes = plan.text_bytes;
  }
  plan.sample = sample.text();
  const auto add = [&](const std::string& split, const std::vector<std::string>& paths) {
    if (!paths.empty()) plan.splits.push_back({split, once([open, paths] { return open(paths); })});
  };
  if (options.valid_fraction == 0) {
    add("train", options.train);
    add("valid", options.valid);
    plan.tokenizer_texts = once([open, paths = options.train] { return open(paths); });
  } else {
    const auto kept = static_cast<std::uint64_t>((1 - options.valid_fraction) * static_cast<double>(train_bytes));
    const std::shared_ptr<TextStream> text = open(options.train);
    plan.splits.push_back({"train", once([text, kept] { return std::make_unique<PartOfText>(text, kept, true); })});
    plan.splits.push_back(
        {"valid", once([text, train_bytes] { return std::make_unique<PartOfText>(text, train_bytes, false); })});
    plan.splits.back().where_empty =
        "the training text is cut at the end of a line, and its last one is too long; raise --valid-fraction, break "
        "long lines ('fold -s'), or name a text with --valid";
    plan.tokenizer_texts =
        once([open, paths = options.train, kept] { return std::make_unique<PartOfText>(open(paths), kept, true); });
  }
  add("test", options.test);
}

void refuse_strange_options(const PrepareOptions& options, bool documents) {
  const bool files = options.dataset == "files";
  const auto refuse = [&](bool given, const char* option, const char* where) {
    if (given) throw ArgumentError(fmt::format("{} is not for {}; {}", option, options.dataset, where));
  };
  refuse(files && !options.from.empty(), "--from", "name the texts with --train, --valid and --test");
  refuse(!files && !options.train.empty(), "--train", "give the files of a known data set with --from");
  refuse(!files && !options.valid.empty(), "--valid", "give the files of a known data set with --from");
  refuse(!files && !options.test.empty(), "--test", "give the files of a known data set with --from");
  refuse(!files && options.valid_fraction > 0, "--valid-fraction", "it has a validation text of its own");
  refuse(!files && options.encoding != "utf-8", "--encoding", "it is for texts of yours");
  refuse(!documents && options.shards > 0, "--shards", "only c4 and peS2o come in shards");
  refuse(!documents && (options.train_tokens > 0 || options.big), "--tokens", "only c4 and peS2o are cut to a length");
}

[[noreturn]] void refuse_unknown(const std::string& dataset) {
  const std::string path = printable(dataset, 4096);
  std::error_code ignored;
  if (std::filesystem::is_directory(dataset, ignored))
    throw ArgumentError(
        fmt::format("{}: this is a folder; name the texts that are meant: "
                    "weir prepare files --tokenizer bytes --train FILE...",
                    path));
  if (std::filesystem::is_regular_file(dataset, ignored)) {
    std::string name = "files";
    for (const Source& source : sources())
      if (source.kind != Source::Kind::documents && base_name(dataset).starts_with(source.name)) name = source.name;
    throw ArgumentError(fmt::format("{}: this is a file; it is prepared with: {}", path, command_for(name, {dataset})));
  }
  std::vector<std::string> known{"files"};
  for (const Source& each : sources()) known.push_back(each.name);
  const std::string nearest = nearest_name(dataset, known);
  throw ArgumentError(fmt::format(
      "there is no data set and no file {}; {}", quote_short(dataset),
      nearest.empty() ? fmt::format("known data sets are {}", join(known, ", ")) : "did you mean " + nearest + "?"));
}

}  // namespace

std::string command_for(const std::string& dataset, const std::vector<std::string>& files) {
  std::vector<std::string> words;
  for (const std::string& file : files) words.push_back(shell_word(file));
  const std::string list = join(words, " ");
  if (dataset != "files") return fmt::format("weir prepare {} --from {}", dataset, list);
  const std::string name = base_name(files.at(0));
  return fmt::format("weir prepare files --train {} --tokenizer bytes --out {}", list,
                     shell_word("data/" + name.substr(0, name.find('.', 1))));
}

Plan make_plan(const PrepareOptions& options, Reporter& reporter) {
  const Source* const source = find_source(options.dataset);
  if (source == nullptr && options.dataset != "files") refuse_unknown(options.dataset);
  refuse_strange_options(options, source != nullptr && source->kind == Source::Kind::documents);
  const auto inputs = std::make_shared<Inputs>(options, reporter);
  inputs->origin["dataset"] = options.dataset;
  Plan plan;
  plan.name = options.dataset;
  plan.origin = [inputs] { return inputs->origin; };
  if (source == nullptr) {
    plan_files(plan, options, inputs, reporter);
    return plan;
  }
  inputs->origin["home"] = source->home;
  inputs->origin["licence"] = source->licence;
  plan.text_bytes = source->text_bytes;
  plan.published_tokenizer = source->published_tokenizer;
  switch (source->kind) {
    case Source::Kind::bytes:
      plan_bytes(plan, *source, options, inputs, reporter);
      break;
    case Source::Kind::words:
      plan_words(plan, *source, options, inputs, reporter);
      break;
    case Source::Kind::documents:
      plan_documents(plan, *source, options, inputs);
      break;
  }
  return plan;
}

}  // namespace weir
