// Texts: how they are opened, and what is refused as none. Packed ones are in tests/end_to_end/test_texts.py.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <random>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "temporary_directory.h"
#include "train/data.h"
#include "train/prepare/document.h"
#include "train/text/text_stream.h"

using namespace weir;
using namespace std::string_literals;

namespace {

const TextOptions kText{TextContent::text, "data.encoding=bytes"};

// The message of the error, after its code.
std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct File {
  TemporaryDirectory folder;
  std::string path;

  explicit File(const std::string& contents) : path(folder / "text") { write_file_synced(path, contents); }
  std::string read(const TextOptions& options = kText) const { return read_text(path, 1 << 26, options); }
  std::string refused(const TextOptions& options = kText) const {
    return refusal([&] { read(options); });
  }
};

void check_refused(const std::string& contents, const std::string& part) {
  const File file(contents);
  const std::string message = file.refused();
  CAPTURE(message);
  CHECK(message.starts_with("65 " + file.path + ": "));
  CHECK(contains(message, part));
  CHECK(contains(message, "data.encoding=bytes"));
  CHECK(refusal([&] { open_text_file(file.path, kText); }) == message);
  CHECK(file.read({TextContent::bytes, ""}) == contents);
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::string utf16(const std::string& ascii, bool big_endian) {
  std::string text;
  for (const char c : ascii) text += big_endian ? "\0"s + c : c + "\0"s;
  return text;
}

}  // namespace

TEST_CASE("texts: sizes are shown with fitting units") {
  const std::pair<std::uint64_t, const char*> sizes[] = {
      {0, "0 bytes"},       {1, "1 byte"},         {999, "999 bytes"},        {1000, "1.0 kB"},
      {9949, "9.9 kB"},     {9950, "10 kB"},       {12'345, "12 kB"},         {999'499, "999 kB"},
      {999'500, "1.0 MB"},  {3'000'000, "3.0 MB"}, {74'721'200'000, "75 GB"}, {1'500'000'000'000, "1.5 TB"},
      {UINT64_MAX, "18 EB"}};
  for (const auto& [bytes, text] : sizes) CHECK(byte_size(bytes) == text);
}

TEST_CASE("texts: other kinds of files are told by their first bytes, and refused") {
  const std::pair<std::string, const char*> kinds[] = {
      {"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"s, "this is a PNG image"},
      {"\xff\xd8\xff\xe0\0\x10JFIF"s, "this is a JPEG image"},
      {"%PDF-1.4\n1 0 obj\n", "this is a PDF document, not text; take its text out with 'pdftotext"},
      {"\x7f"
       "ELF\x02\x01\x01"s,
       "(ELF)"},
      {"GGUF\x03\0\0\0"s, "(GGUF)"},
      {"\x40\0\0\0\0\0\0\0{\"a\":{}}"s, "(safetensors)"},
      {"PAR1\x15\x04\x15"s, "a Parquet table"},
      {"ARROW1\0\0"s, "an Arrow table"},
      {"\x93NUMPY\x01\0v\0"s, "a NumPy array"},
      {"SQLite format 3\0"s, "an SQLite database"},
      {"\0\0\0\x18"
       "ftypmp42"s,
       "(MP4)"},
      {"\x80\x04\x95\x10"s, "a Python pickle"},
      {"PK\x03\x04"s + std::string(22, '\x14') + "\x13\0\0\0[Content_Types].xml"s,
       "a Word, Excel or PowerPoint document"},
      {"PK\x03\x04"s + std::string(22, '\x14') + "\x10\0\0\0archive/data.pkl"s, "a PyTorch file"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"},
      {"weir tok\x01\0\0\0"s, "a shard of tokens"},
      {"7z\xbc\xaf\x27\x1c"s, "packed with 7-Zip"},
  };
  for (const auto& [contents, what] : kinds) check_refused(contents, what);
}

TEST_CASE("texts: a text may begin with the letters of another kind") {
  for (const char* text : {"PAR1 is a magic\n", "GGUF\n", "BMW\n", "MZ\n", "RIFF\n", "ID3\n", "Gift\n", "{\"a\": 1}\n"})
    CHECK(File(text).read() == text);
}

TEST_CASE("texts: UTF-16 and UTF-32 are refused, with or without their mark") {
  const std::string text = repeated("Ein Wehr staut Wasser. ", 40);
  check_refused("\xff\xfe" + utf16(text, false),
                "UTF-16: its byte-order mark stands at byte offset 0; convert it with "
                "'iconv -f UTF-16 -t UTF-8");
  check_refused("\xfe\xff" + utf16(text, true), "UTF-16");
  check_refused("\xff\xfe\0\0a\0\0\0"s, "UTF-32");
  check_refused(utf16(text, false), "offset 1 is zero, which no text has: this seems to be UTF-16 without");
  check_refused(utf16(text, false), "-f UTF-16LE");
  check_refused(utf16(text, true), "-f UTF-16BE");
}

TEST_CASE("texts: zero bytes are refused wherever they stand") {
  const std::string text = repeated("a line of text\n", 200'000);
  check_refused(text + '\0', "the byte at offset 3000000 is zero");
  check_refused("ab\0"s + text, "the byte at offset 2 is zero");
  CHECK(File("ab\0cd\0"s).read({TextContent::texts, ""}) == "ab\0cd\0"s);
}

TEST_CASE("texts: Latin-1 is refused, a few bytes that are not UTF-8 are not") {
  check_refused(repeated("Gr\xf6\xdf"
                         "e und \xdc"
                         "bermut\n",
                         1000),
                "the first of them at byte offset 2");
  check_refused(repeated("Gr\xf6\xdf"
                         "e und \xdc"
                         "bermut tun selten gut\n",
                         1000),
                "'iconv -f LATIN1 -t UTF-8");
  check_refused(repeated("\xc4\xe3\xba\xc3\xa1\xa3", 1000), "another encoding");  // GBK
  const std::string few = repeated("one line of code\n", 100) + "caf\xe9\n" + repeated("another\n", 100);
  CHECK(File(few).read() == few);
  const std::string letters = repeated("Größe, 你好, 🦦\n", 100);
  for (std::size_t cut = 0; cut < 16; ++cut) {  // within a character, at either end
    CHECK(File(letters.substr(cut, 17)).refused() == "accepted");
    CHECK(File(letters.substr(0, 17 - cut)).refused() == "accepted");
  }
}

TEST_CASE("texts: UTF-8 is told from everything else, in any pieces") {
  std::mt19937 random(1);
  const std::string alphabet[] = {"a",
                                  "ö",
                                  "你",
                                  "🦦",
                                  "\x80",
                                  "\xc3",
                                  "\xe4\xbd",
                                  "\xf0\x9f",
                                  "\xed\xa0\x80",
                                  "\xc0\xaf",
                                  "\xf4\x90\x80\x80",
                                  "\xff",
                                  "\xe0\x80\x80",
                                  "eight by"};
  for (int round = 0; round < 20000; ++round) {
    std::string text = "a";
    for (auto parts = random() % 6; parts > 0; --parts) text += alphabet[random() % std::size(alphabet)];
    text += "z";
    Utf8Check whole, pieces;
    whole.update(text);
    const std::size_t cut = random() % text.size();
    pieces.update(std::span(text).first(cut));
    pieces.update(std::span(text).subspan(cut));
    REQUIRE((whole.invalid() == 0) == is_utf8(text));
    REQUIRE(whole.invalid() == pieces.invalid());
    REQUIRE(whole.first_invalid() == pieces.first_invalid());
    REQUIRE(whole.bytes() == text.size());
    if (whole.invalid() > 0) {
      REQUIRE(is_utf8(text.substr(0, *whole.first_invalid())));
      REQUIRE_FALSE(is_utf8(text.substr(0, *whole.first_invalid() + 1)));
    }
  }
  Utf8Check counted;
  counted.update("a\xc3(\xe4\xbd)\xff\x80 b"s);
  CHECK(counted.invalid() == 5);
}

TEST_CASE("texts: a byte-order mark of UTF-8 is left out") {
  const File file("\xef\xbb\xbfone two");
  CHECK(file.read() == "one two");
  CHECK(file.read({TextContent::bytes, ""}) == "\xef\xbb\xbfone two");
  const Corpus corpus = Corpus::text(file.path, kText);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(corpus.size()));
  corpus.read(0, tokens);
  CHECK(std::string(tokens.begin(), tokens.end()) == "one two");
  CHECK(corpus.checksum() == Corpus::text(File("one two").path).checksum());
}

TEST_CASE("texts: what cannot be opened is told apart") {
  const TemporaryDirectory folder;
  const auto message = [&](const std::string& name) {
    return refusal([&] { open_corpus(folder / name, "train", kText); });
  };
  std::filesystem::create_symlink(folder / "loop", folder / "loop");
  std::filesystem::create_symlink(folder / "gone", folder / "link");
  CHECK(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  write_file_synced(folder / "empty", "");
  CHECK(contains(message("loop"), "symbolic link leads back to itself"));
  CHECK(contains(message("link"), "this symbolic link leads to nothing"));
  CHECK(contains(message("pipe"), "this is a pipe, expected a regular file"));
  CHECK(contains(message("empty"), "the file is empty; check that it is the right one"));
  CHECK(contains(message("none"), "there is no such text"));
  CHECK(contains(refusal([] { open_corpus("/dev/null", "train", kText); }), "this is a device"));
}

TEST_CASE("texts: temporary files hold what was written and leave nothing") {
  const TemporaryDirectory folder;
  ::setenv("TMPDIR", folder.path().c_str(), 1);
  {
    TemporaryFile file("label");
    for (const std::string& piece : {"one "s, "two"s}) file.write(std::as_bytes(std::span(piece)));
    const auto written = file.finish();
    std::string text(3, ' ');
    CHECK(written->size() == 7);
    written->read(4, std::as_writable_bytes(std::span(text)));
    CHECK(text == "two");
    CHECK(folder.entries() == 0);
  }
  ::setenv("TMPDIR", (folder / "none").c_str(), 1);
  CHECK(contains(refusal([] { TemporaryFile("label"); }), "TMPDIR"));
  ::unsetenv("TMPDIR");
}

// --- JSON lines -----------------------------------------------------------------------------------------------------

namespace {

// The text of one line and what was mended in it.
std::pair<std::string, std::string> mended(const std::string& line) {
  DocumentLog log;
  const std::string text = document_text(line, "f", 7, log);
  return {text, log.mended.describe()};
}

using Pair = std::pair<std::string, std::string>;

}  // namespace

TEST_CASE("documents: sound lines are left alone") {
  CHECK(mended(R"({"text": "a\nb\ud83d\ude00\\ud83d", "n": [1e5, {}]})") == Pair("a\nb😀\\ud83d", ""));
  CHECK(mended(R"({"text": ""})") == Pair("", ""));
  CHECK(mended(R"({"a": {"text": 1}, "text": "b", "c": ["text", {"text": "d"}], "e": "f"})") == Pair("b", ""));
  CHECK(mended(R"({"text": 1, "text": "the last"})") == Pair("the last", ""));
}

TEST_CASE("documents: what has no text in the outermost object is a bad line") {
  for (const char* line :
       {R"({"a": "b"})", R"({"text": 5})", R"({"text": ["a"]})", R"({"text": {"text": "a"}})", R"([{"text": "a"}])",
        R"(["text", "a"])", R"("text")", R"({"text": "a"} x)", R"({"text": "a", "text": null})"}) {
    CAPTURE(line);
    CHECK(mended(line) == Pair("", "1 line without a document skipped (first: f:7)"));
  }
  DocumentLog log;
  document_text("{\"text\": 5x}", "f", 7, log);
  CHECK(log.first_bad_line.starts_with("f: line 7 is not JSON (byte offset 10: syntax error while parsing object - "));
}

TEST_CASE("documents: what other programs write is mended") {
  const std::string mark = "\xef\xbf\xbd";
  CHECK(mended(R"({"text": "half \ud83d pair"})") == Pair("half " + mark + " pair", "1 lone surrogate (first: f:7)"));
  CHECK(mended(R"({"text": "\ude00\uD83D\ud83d\ude00\ud83d"})") ==
        Pair(mark + mark + "😀" + mark, "3 lone surrogates (first: f:7)"));
  CHECK(mended(R"({"\ud83d": "\udfff", "text": "a"})") == Pair("a", "2 lone surrogates (first: f:7)"));
  CHECK(mended("{\"text\": \"caf\xe9 \xc3\xa9\"}") ==
        Pair("caf" + mark + " é", "1 byte that is not UTF-8 (first: f:7)"));
  CHECK(mended(R"({"a": NaN, "b": [Infinity, -Infinity], "c": 1e999, "d": -1e400, "text": "NaN 1e999"})") ==
        Pair("NaN 1e999", "5 numbers that JSON does not have (first: f:7)"));
  CHECK(mended(" \r\n") == Pair("", "1 blank line skipped (first: f:7)"));
}

TEST_CASE("documents: other lines are skipped, and too many of them refused") {
  for (const char* bad :
       {"{\"text\": 1}", "{}", "[]", "7", "{\"text\": \"a", "{\"text\": NaN}", "{\"text\": \"\\ud83d"}) {
    CAPTURE(bad);
    CHECK(mended(bad) == Pair("", "1 line without a document skipped (first: f:7)"));
  }
  DocumentLog log;
  for (std::int64_t line = 1; line <= 20; ++line)
    document_text(line == 3 || line == 9 ? "{}" : R"({"text": "a"})", "f", line, log);
  log.check(true);
  CHECK(log.mended.describe() == "2 lines without a document skipped (first: f:3)");
  document_text("x", "f", 21, log);
  log.check(false);
  CHECK(refusal([&] { log.check(true); }) ==
        "65 f: line 3 has no string \"text\"; each line must be a JSON object with a string \"text\", and 3 of the "
        "first 21 "
        "lines are not: check that it is the right file");
}
