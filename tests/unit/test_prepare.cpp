// What `weir prepare` is made of, without a network; tests/end_to_end/test_prepare.py has the whole command.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "core/error.h"
#include "core/file.h"
#include "core/parallel.h"
#include "temporary_directory.h"
#include "train/prepare/digest.h"
#include "train/prepare/download.h"
#include "train/prepare/encode.h"
#include "train/prepare/expected_size.h"
#include "train/prepare/output_folder.h"
#include "train/prepare/sources.h"

namespace {

using namespace weir;

class SilentReporter final : public Reporter {
 public:
  void message(const std::string& text) override { messages += text + "\n"; }
  void progress(const std::string&) override {}
  bool stop_requested() const override { return stop; }
  void may_exit(bool) override {}

  std::string messages;
  bool stop = false;
};

// A tokenizer whose tokens show the pieces that it was given: one for each byte, and 256 at the end. It claims not to
// know question marks.
class PieceTokenizer final : public Tokenizer {
 public:
  std::int64_t vocabulary() const override { return 257; }
  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> tokens(text.size() + 1, 256);
    std::transform(text.begin(), text.end(), tokens.begin(), [](char c) { return static_cast<unsigned char>(c); });
    return tokens;
  }
  std::vector<std::int32_t> encode_counting(std::string_view text, std::int64_t& unknown_bytes) const override {
    unknown_bytes += std::count(text.begin(), text.end(), '?');
    return encode(text);
  }
  std::string decode(std::span<const std::int32_t>) const override { return ""; }
  std::string piece(std::int32_t) const override { return ""; }
  std::string describe() const override { return "pieces"; }
};

struct Encoded {
  std::vector<std::int32_t> tokens;
  EncodeTotals totals;
};

Encoded encode(const std::string& text, Cut cut, std::int64_t limit = std::numeric_limits<std::int64_t>::max()) {
  const TemporaryDirectory directory;
  write_file_synced(directory / "text", text);
  SilentReporter reporter;
  const PieceTokenizer tokenizer;
  SplitWriter writer(directory.path(), "train", tokenizer.vocabulary());
  Encoder encoder(tokenizer, cut, limit, writer, "train", reporter);
  encoder.append(*open_text(directory / "text"));
  const Split split = writer.commit();
  Encoded result{std::vector<std::int32_t>(static_cast<std::size_t>(split.tokens)), encoder.totals()};
  TokenFile(directory / split.shards.at(0).file).read(0, result.tokens);
  return result;
}

std::vector<std::int32_t> tokens_of(std::initializer_list<std::string> pieces) {
  std::vector<std::int32_t> tokens;
  for (const std::string& piece : pieces) {
    const auto more = PieceTokenizer().encode(piece);
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  return tokens;
}

ExitCode code_of(const std::function<void()>& call, const std::string& fragment = "") {
  try {
    call();
  } catch (const Error& error) {
    INFO(error.what());
    CHECK(std::string(error.what()).find(fragment) != std::string::npos);
    return error.code();
  }
  return ExitCode::success;
}

// --- encoding -------------------------------------------------------------------------------------------------------

TEST_CASE("prepare: lines are encoded one by one, without their ends or with them") {
  const std::string text = "one two\n\n \r\nthree";
  const Encoded lines = encode(text, Cut::lines);
  CHECK(lines.tokens == tokens_of({"one two", " ", "three"}));
  CHECK(lines.totals.words == 3 + 4);  // three words, four line ends
  CHECK(lines.totals.bytes == static_cast<std::int64_t>(text.size()));
  CHECK(encode(text, Cut::whole_lines).tokens == tokens_of({"one two\n", "\n", " \r\n", "three"}));
}

TEST_CASE("prepare: bytes without a token are counted over the whole text, and line ends that are cut off") {
  std::string text;
  for (int line = 0; line < 20'000; ++line) text += "one? two\n";
  const EncodeTotals totals = encode(text, Cut::lines).totals;
  CHECK(totals.unknown_bytes == 2 * 20'000);
  CHECK(totals.unknown_share() == doctest::Approx(2.0 / 9));
  CHECK(encode(text, Cut::whole_lines).totals.unknown_bytes == 20'000);
  CHECK(encode("one\r\n\r\n\n", Cut::lines).totals.unknown_bytes == 5);
  CHECK(encode("one", Cut::lines).totals.unknown_share() == 0);
}

TEST_CASE("prepare: bytes are not cut at lines") {
  const std::string text = "one\ntwo";
  CHECK(encode(text, Cut::bytes).tokens == tokens_of({text}));
}

TEST_CASE("prepare: documents end with a mark, and empty ones are left out") {
  const std::string text = "{\"text\": \"a\\nb\", \"id\": 1}\n{\"text\": \"\"}\n{\"id\": [{}], \"text\": \"c\"}\n";
  const Encoded documents = encode(text, Cut::documents);
  CHECK(documents.tokens == tokens_of({"a\nb<STORY_SEP>", "c<STORY_SEP>"}));
  for (const char* bad : {"{\"text\": 1}\n", "{}\n", "[]\n", "7\n", "{\"text\": \"a\n"}) {
    CAPTURE(bad);
    const auto call = [&] { encode("{\"text\": \"fine\"}\n" + std::string(bad), Cut::documents); };
    CHECK(code_of(call, "line 2") == ExitCode::bad_data);
  }
}

TEST_CASE("prepare: odd lines of documents are mended and counted, in order") {
  std::string text;
  for (int line = 1; line <= 40000; ++line)  // several groups
    text += line % 10000 == 5000 ? "\n" : line % 10000 == 7000 ? "{\"text\": \"\\ud83d\"}\n" : "{\"text\": \"a\"}\n";
  const Encoded documents = encode(text, Cut::documents);
  CHECK(documents.totals.bytes == 39992 * 12 + 4 * 14);
  const std::string mended = documents.totals.mended.describe();
  CHECK(mended.starts_with("4 lone surrogates (first: "));
  CHECK(mended.find("text:7000), 4 blank lines skipped (first: ") != std::string::npos);
  CHECK(mended.ends_with("text:5000)"));
}

TEST_CASE("prepare: a sample is the whole of a short text, and is spread evenly over a long one") {
  for (const std::size_t pieces : {1, 63, 64, 65, 1000, 12345}) {
    CAPTURE(pieces);
    TextSample sample;
    for (std::size_t i = 0; i < pieces; ++i)
      sample.add(std::string(TextSample::kPieceBytes, static_cast<char>('a' + i * 26 / pieces)));
    const std::size_t kept = sample.text().size() / TextSample::kPieceBytes;
    if (pieces < 64) CHECK(kept == pieces);
    CHECK(kept <= 64);
    for (char part = 'a'; kept >= 32 && part <= 'z'; ++part) {
      const auto bytes = static_cast<std::size_t>(std::count(sample.text().begin(), sample.text().end(), part));
      CHECK(bytes / TextSample::kPieceBytes >= kept / 26);
      CHECK(bytes / TextSample::kPieceBytes <= kept / 26 + 1);
    }
  }
}

TEST_CASE("prepare: a limit cuts where it stands") {
  CHECK(encode("abc\ndef\n", Cut::lines, 5).tokens == std::vector<std::int32_t>{'a', 'b', 'c', 256, 'd'});
}

TEST_CASE("prepare: any number of threads gives the same tokens, those of a plain loop") {
  std::string text;
  std::vector<std::int32_t> expected;
  for (int line = 0; text.size() < (std::size_t{20} << 20); ++line) {  // several batches
    const std::string words(static_cast<std::size_t>(line * 7919 % 3001), static_cast<char>('a' + line % 26));
    text += words + "\n";
    if (words.empty()) continue;
    for (const char c : words) expected.push_back(c);
    expected.push_back(256);
  }
  const int before = thread_count();
  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    const Encoded result = encode(text, Cut::lines);
    CHECK(result.tokens == expected);
    CHECK(result.totals.bytes == static_cast<std::int64_t>(text.size()));
  }
  set_thread_count(before);
}

TEST_CASE("prepare: encoding stops when asked to, and leaves nothing") {
  const TemporaryDirectory directory;
  write_file_synced(directory / "text", "some text");
  SilentReporter reporter;
  reporter.stop = true;
  {
    const PieceTokenizer tokenizer;
    SplitWriter writer(directory.path(), "train", tokenizer.vocabulary());
    Encoder encoder(tokenizer, Cut::lines, 1000, writer, "train", reporter);
    CHECK(code_of([&] { encoder.append(*open_text(directory / "text")); }) == ExitCode::stopped);
  }
  CHECK(directory.entries() == 1);
}

TEST_CASE("prepare: a line without end is refused") {
  const TemporaryDirectory directory;
  write_file_synced(directory / "text", std::string((std::size_t{64} << 20) + 1, 'x'));
  const auto text = open_text(directory / "text");
  LineReader lines(*text);
  std::string line;
  CHECK(code_of([&] { lines.append_line(line); }, "line 1 is longer") == ExitCode::bad_data);
}

// --- digests --------------------------------------------------------------------------------------------------------

TEST_CASE("prepare: SHA-256 of known texts") {
  if (!have_digest()) return;
  const auto digest = [](std::string_view text) {
    const auto sha256 = make_sha256();
    for (const char& c : text) sha256->update({&c, 1});
    return sha256->finish();
  };
  CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("prepare: the table of data sets is complete") {
  const auto is_digest = [](const std::string& text) {
    return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  };
  for (const Source& source : sources()) {
    CAPTURE(source.name);
    CHECK(find_source(source.name) == &source);
    CHECK_FALSE(source.licence.empty());
    CHECK_FALSE(source.train.empty());
    for (const auto* files : {&source.train, &source.valid})
      for (const RemoteFile& file : *files) {
        CHECK(file.urls.at(0).starts_with("https://"));
        CHECK(file.urls[0].ends_with("/" + file.name));
        CHECK((file.sha256.empty() || is_digest(file.sha256)));
        // Without a digest, only an encrypted connection says where a file comes from.
        for (const std::string& url : file.urls) CHECK((url.starts_with("https://") || !file.sha256.empty()));
      }
  }
  CHECK(find_source("c4")->train.size() == 1024);
  CHECK(find_source("c4")->train[1023].name == "c4-train.01023-of-01024.json.gz");
  CHECK(find_source("peS2o")->valid[1].name == "validation-00001-of-00002.json.gz");
  CHECK(kTrainTokensSmall == 1640038400);
  CHECK(kTrainTokensBig == 3280076800);
}

// --- downloads ------------------------------------------------------------------------------------------------------

// A network of one file, and what was asked of it.
struct FakeNetwork {
  std::string content;
  std::vector<TransferResult::Outcome> outcomes;  // one per request; the last one stays
  std::size_t piece = 1000000;                    // bytes after which a transfer breaks off
  bool resumable = true;
  std::vector<std::string> requests;  // "URL@OFFSET"
};
FakeNetwork network;

TransferResult fake_transfer(const TransferRequest& request) {
  using Outcome = TransferResult::Outcome;
  network.requests.push_back(request.url + "@" + std::to_string(request.offset));
  const Outcome outcome = network.outcomes[std::min(network.requests.size(), network.outcomes.size()) - 1];
  if (outcome == Outcome::refused) return {outcome, "HTTP status 404"};
  if (outcome == Outcome::beyond_end) return {outcome, "HTTP status 416"};
  const std::size_t start = network.resumable ? request.offset : 0;
  if (!request.begin(start, network.content.size())) return {Outcome::ended, ""};
  const std::string rest = network.content.substr(std::min(start, network.content.size()));
  const std::size_t n = outcome == Outcome::done ? rest.size() : std::min(rest.size(), network.piece);
  if (!request.write(std::span(rest).first(n))) return {Outcome::ended, ""};
  return {outcome, "broken off"};
}

struct Downloads {
  TemporaryDirectory directory;
  SilentReporter reporter;
  RemoteFile file{"f.zip", {"https://a.example/f.zip", "https://b.example/f.zip"}, "", 0};
  DownloadOptions options;

  explicit Downloads(std::vector<TransferResult::Outcome> outcomes) {
    set_transport(fake_transfer);
    network = {.content = "the content of the file", .outcomes = std::move(outcomes), .requests = {}};
    options.folder = directory / "downloads";
    // Of the content.
    file.sha256 = have_digest() ? content_digest() : "";
  }
  std::string content_digest() const {
    const auto digest = make_sha256();
    digest->update(network.content);
    return digest->finish();
  }
  std::string part() const { return options.folder + "/f.zip.part"; }
  void leave_part(const std::string& content) const {
    std::filesystem::create_directories(options.folder);
    write_file_synced(part(), content);
  }
  void check_done() {
    const std::string path = download(file, options, reporter);
    CHECK(path == options.folder + "/f.zip");
    CHECK(read_file(path, 1000) == network.content);
    CHECK_FALSE(std::filesystem::exists(part()));
  }
};

using Outcome = TransferResult::Outcome;

TEST_CASE("download: whole, and not again") {
  Downloads test({Outcome::done});
  test.check_done();
  test.check_done();
  CHECK(network.requests == std::vector<std::string>{"https://a.example/f.zip@0"});
}

TEST_CASE("download: goes on where it broke off") {
  Downloads test({Outcome::interrupted, Outcome::interrupted, Outcome::done});
  network.piece = 5;
  test.check_done();
  CHECK(network.requests == std::vector<std::string>{"https://a.example/f.zip@0", "https://a.example/f.zip@5",
                                                     "https://a.example/f.zip@10"});
}

TEST_CASE("download: goes on where an earlier process left it") {
  Downloads test({Outcome::done});
  test.leave_part("the con");
  test.check_done();
  CHECK(network.requests == std::vector<std::string>{"https://a.example/f.zip@7"});
}

TEST_CASE("download: starts again where the server cannot resume") {
  Downloads test({Outcome::done});
  network.resumable = false;
  test.leave_part("the con");
  test.check_done();
}

TEST_CASE("download: the next place is asked when one refuses") {
  Downloads test({Outcome::refused, Outcome::done});
  test.options.mirror = "http://mirror.example/data";
  test.check_done();
  CHECK(network.requests ==
        std::vector<std::string>{"http://mirror.example/data/f.zip@0", "https://a.example/f.zip@0"});
  CHECK(test.reporter.messages.find("mirror.example: HTTP status 404") != std::string::npos);
}

TEST_CASE("download: a first part from elsewhere costs one more attempt") {
  if (!have_digest()) return;
  Downloads test({Outcome::done});
  test.leave_part("another");
  test.check_done();
  CHECK(network.requests == std::vector<std::string>{"https://a.example/f.zip@7", "https://a.example/f.zip@0"});
}

TEST_CASE("download: what is complete but not renamed is recognised by its digest") {
  if (!have_digest()) return;
  Downloads test({Outcome::beyond_end});
  test.leave_part(network.content);
  test.check_done();
}

TEST_CASE("download: a wrong digest everywhere is bad data, and nothing stays") {
  if (!have_digest()) return;
  Downloads test({Outcome::done});
  test.file.sha256 = std::string(64, '0');
  const auto call = [&] { download(test.file, test.options, test.reporter); };
  CHECK(code_of(call, "SHA-256") == ExitCode::bad_data);
  CHECK(network.requests.size() == 2);
  CHECK_FALSE(std::filesystem::exists(test.part()));
}

TEST_CASE("download: a wrong size is refused before anything is written") {
  Downloads test({Outcome::done});
  test.file.bytes = 1000;
  test.leave_part("the con");
  const auto call = [&] { download(test.file, test.options, test.reporter); };
  CHECK(code_of(call, "expected 1000") == ExitCode::io);
  CHECK(read_file(test.part(), 1000) == "the con");
}

TEST_CASE("download: refused everywhere, every place is named, and what to do") {
  Downloads test({Outcome::refused});
  const auto call = [&] { download(test.file, test.options, test.reporter); };
  CHECK_FALSE(std::filesystem::exists(test.part()));
  CHECK(code_of(call,
                "a.example: HTTP status 404, b.example: HTTP status 404; get it some other way and give it with "
                "--from FILE") == ExitCode::io);
}

TEST_CASE("download: a stop keeps what has arrived") {
  Downloads test({Outcome::interrupted});
  network.piece = 5;
  test.reporter.stop = true;
  CHECK(code_of([&] { download(test.file, test.options, test.reporter); }) == ExitCode::stopped);
  CHECK(read_file(test.part(), 1000) == "the c");
}

// --- the folder -----------------------------------------------------------------------------------------------------

void write_small_dataset(const std::string& folder, const std::string& name) {
  SplitWriter writer(folder, "train", 256);
  writer.append(std::vector<std::int32_t>{1, 2, 3});
  Dataset dataset;
  dataset.name = name;
  dataset.splits["train"] = writer.commit();
  write_dataset(folder, dataset);
}

TEST_CASE("prepare: a folder appears whole or not at all") {
  const TemporaryDirectory directory;
  const std::string out = directory / "deep/set/";
  { const OutputFolder abandoned(out, false); }
  CHECK_FALSE(std::filesystem::exists(out));
  CHECK_FALSE(std::filesystem::exists(directory / "deep"));

  const auto write = [&](const std::string& name, bool replace) {
    OutputFolder folder(out, replace);
    write_small_dataset(folder.path(), name);
    folder.commit();
  };
  write("first", false);
  CHECK(code_of([&] { write("second", false); }, "--force") == ExitCode::usage);
  CHECK(read_dataset(out).name == "first");
  write("second", true);
  CHECK(read_dataset(out).name == "second");
  CHECK(std::distance(std::filesystem::directory_iterator(directory / "deep"), {}) == 1);

  write_file_synced(out + "/notes.txt", "mine");
  CHECK(code_of([&] { write("third", true); }, "\"notes.txt\" is in this folder") == ExitCode::usage);
  CHECK(read_file(out + "/notes.txt", 10) == "mine");
  write_file_synced(out + "/dataset.json", "{");
  CHECK(code_of([&] { write("third", true); }, "cannot be told") == ExitCode::bad_data);

  std::filesystem::create_directory(directory / "home");
  write_file_synced(directory / "home/letter", "dear");
  CHECK(code_of([&] { OutputFolder(directory / "home", true); }, "no prepared data set") == ExitCode::usage);
  CHECK(read_file(directory / "home/letter", 100) == "dear");
  for (const char* name : {"", "/", "..", "a/.."}) CHECK(code_of([&] { OutputFolder(name, true); }) == ExitCode::usage);
}

TEST_CASE("prepare: what a killed process left is removed, and what a living one writes is not") {
  const TemporaryDirectory directory;
  const std::string dead = directory / ".set.tmp-4711", others = directory / ".set.tmp-4712",
                    named = directory / ".set.tmp-notes";
  for (const std::string& path : {dead, others, named}) std::filesystem::create_directory(path);
  write_file_synced(dead + "/.train-00000.tokens.tmp-4711", "x");
  write_file_synced(others + "/letter", "dear");
  write_file_synced(named + "/train-00000.tokens", "x");
  {
    const OutputFolder living(directory / "set", false);
    CHECK_FALSE(std::filesystem::exists(dead));
    for (const std::string& path : {others, named}) CHECK(std::filesystem::exists(path));
    std::filesystem::rename(living.path(), directory / ".set.tmp-1");
    CHECK(code_of([&] { OutputFolder(directory / "set", false); }, "another process is preparing") == ExitCode::io);
    CHECK(std::filesystem::exists(directory / ".set.tmp-1"));
  }
}

TEST_CASE("prepare: of two that fill the same folder one wins, whole") {
  const TemporaryDirectory directory;
  const std::string out = directory / "set";
  {
    OutputFolder late(out, false);
    write_small_dataset(late.path(), "late");
    std::filesystem::create_directory(out);
    write_small_dataset(out, "early");
    CHECK(code_of([&] { late.commit(); }, "was put there while") == ExitCode::io);
  }
  CHECK(read_dataset(out).name == "early");
  CHECK(directory.entries() == 1);
}

}  // namespace
