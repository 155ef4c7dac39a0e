// File services: reading, mapping, atomic replacement, and what is left behind when they fail.
#include "core/file.h"
#include "core/text.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "core/error.h"
#include "tests/unit/temporary_directory.h"

using namespace weir;

namespace {

template <class F>
std::string error_of(ExitCode code, F&& action) {
  try {
    action();
  } catch (const RunError& error) {
    CHECK(error.code() == code);
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return error.what();
  }
  return "no error";
}

template <class F>
std::string io_error_of(F&& action) {
  return error_of(ExitCode::io, action);
}

bool contains(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text << " lacks " << part);
  return found;
}

// Files may not grow beyond `bytes` while it lives: the write that crosses the limit is short, the next one fails.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

// Permissions do not bind root; as root the test acts for somebody else.
class OrdinaryUser {
 public:
  OrdinaryUser() : changed_(::geteuid() == 0 && ::seteuid(65534) == 0) {}
  ~OrdinaryUser() {
    if (changed_ && ::seteuid(0) != 0) std::abort();
  }
  bool active() const { return ::geteuid() != 0; }

 private:
  bool changed_;
};

}  // namespace

TEST_CASE("printable escapes what acts on a terminal and keeps the rest") {
  CHECK(printable("layer.0/weight") == "layer.0/weight");
  CHECK(printable("σ-MoE 日本") == "σ-MoE 日本");
  CHECK(printable(std::string_view("a\0b\n\x1b[2J\x7f", 9)) == "a\\x00b\\n\\x1b[2J\\x7f");
  CHECK(printable("back\\slash") == "back\\\\slash");
  CHECK(printable("\xe2\x80\xae"
                  "evil\xc2\x9b") == "\\u{202e}evil\\u{9b}");
  CHECK(printable("\xff\xc0\x80\xed\xa0\x80") == "\\xff\\xc0\\x80\\xed\\xa0\\x80");  // overlong, surrogate
  CHECK(printable("\xf0\x9f\x98") == "\\xf0\\x9f\\x98");                             // cut short
  CHECK(printable("\xf0\x9f\x98\x80") == "\xf0\x9f\x98\x80");
  CHECK(printable(std::string(500, 'x'), 10) == "xxxxxxxxxx...");
}

TEST_CASE("what is written is read back") {
  const TemporaryDirectory directory;
  std::string text("zero \0 inside, \n and a tail ", 28);
  while (text.size() < 200'000) text += text;
  write_file_atomically(directory / "a", std::string_view(text));
  write_file_synced(directory / "b", std::string_view(text));
  CHECK(read_file(directory / "a", text.size()) == text);
  CHECK(read_file(directory / "b", text.size()) == text);
  const MappedFile mapped(directory / "a");
  REQUIRE(mapped.size() == text.size());
  CHECK(std::equal(text.begin(), text.end(), reinterpret_cast<const char*>(mapped.bytes().data())));
  CHECK(directory.entries() == 2);
  sync_directory(directory.path());
}

TEST_CASE("replacing a file leaves an open map of it intact") {
  const TemporaryDirectory directory;
  const std::string path = directory / "a";
  write_file_atomically(path, "first contents");
  const MappedFile old(path);
  SUBCASE("atomically") { write_file_atomically(path, "2nd"); }
  SUBCASE("piece by piece") { write_file_synced(path, "2nd"); }
  CHECK(static_cast<char>(old.bytes()[13]) == 's');
  CHECK(read_file(path, 100) == "2nd");
  CHECK(directory.entries() == 1);
}

TEST_CASE("reading refuses what is not there, not a file, too large or empty") {
  const TemporaryDirectory directory;
  const std::string empty = directory / "empty", small = directory / "small";
  write_file_synced(empty, "");
  write_file_synced(small, "12345");
  const auto read = [](const std::string& path) { return [path] { read_file(path, 4); }; };
  const auto map = [](const std::string& path) { return [path] { MappedFile file(path); }; };
  CHECK(
      contains(io_error_of(read(directory / "none")), "/none: cannot open: No such file or directory; check the path"));
  CHECK(contains(io_error_of(map(directory / "none")), "cannot open: No such file"));
  CHECK(contains(io_error_of(read(directory.path())),
                 "this is a directory, expected a regular file; name a regular file, or move"));
  CHECK(contains(io_error_of(map(directory.path())),
                 "this is a directory, expected a regular file; name a regular file, or move"));
  CHECK(contains(error_of(ExitCode::bad_data, read(empty)), "the file is empty"));
  CHECK(contains(error_of(ExitCode::bad_data, map(empty)), "the file is empty"));
  CHECK(contains(error_of(ExitCode::bad_data, read(small)), "larger than the 4 bytes allowed"));
  CHECK(contains(io_error_of(read("/dev/zero")), "this is a device, expected a regular file"));
  CHECK(read_file("/proc/self/comm", 100).ends_with("\n"));  // whose size is said to be 0
  CHECK(contains(io_error_of(map("/dev/zero")), "expected a regular file"));
  CHECK(contains(io_error_of(read("")), "the path is empty"));
  CHECK(contains(io_error_of(read(std::string("a\0b", 3))), "a\\x00b: the path contains a zero byte"));
  CHECK(contains(io_error_of(read(directory / "a\nb")), "a\\nb: cannot open"));
  CHECK(read_file(empty, 4, Empty::allowed).empty());
  CHECK(MappedFile(empty, Empty::allowed).bytes().empty());
  CHECK(read_file(small, 5) == "12345");
}

TEST_CASE("a file that is open for reading at any place") {
  const TemporaryDirectory directory;
  const std::string path = directory / "a";
  write_file_synced(path, "0123456789");
  const RandomAccessFile file(path);
  CHECK(file.size() == 10);
  std::string text(4, ' ');
  file.read(3, std::as_writable_bytes(std::span(text)));
  CHECK(text == "3456");
  std::filesystem::resize_file(path, 5);
  CHECK(contains(io_error_of([&] { file.read(3, std::as_writable_bytes(std::span(text))); }),
                 path + ": the file has 5 bytes now, but had 10 when it was opened; it was cut meanwhile"));
  CHECK(contains(io_error_of([&] { RandomAccessFile none(directory / "none"); }), "cannot open"));
  CHECK(contains(io_error_of([&] { RandomAccessFile none("/dev/zero"); }), "expected a regular file"));
}

TEST_CASE("what was written is overwritten, and nothing beyond") {
  const TemporaryDirectory directory;
  const std::string path = directory / "a";
  FileWriter writer(path);
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  writer.write(bytes("0123"));
  writer.overwrite(1, bytes("xy"));
  writer.write(bytes("45"));
  CHECK_THROWS_AS(writer.overwrite(5, bytes("xy")), InternalError);
  writer.finish();
  CHECK(read_file(path, 10) == "0xy345");
}

TEST_CASE("a pipe without a writer is refused at once, whatever opens it") {
  const TemporaryDirectory directory;
  const std::string pipe = directory / "pipe", kind = pipe + ": this is a pipe, ";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(contains(io_error_of([&] { MappedFile file(pipe); }), kind + "expected a regular file"));
  CHECK(contains(io_error_of([&] { RandomAccessFile file(pipe); }), kind + "expected a regular file"));
  CHECK(contains(io_error_of([&] { read_file(pipe, 10); }), kind + "expected a regular file"));
  for (const auto& write : {std::function<void()>([&] { create_file(pipe); }),
                            {[&] { open_to_append(pipe); }},
                            {[&] { open_to_lock(pipe); }},
                            {[&] { check_replaceable(pipe); }},
                            {[&] { write_file_atomically(pipe, "x"); }},
                            {[&] { FileWriter file(pipe); }}})
    CHECK(contains(io_error_of(write), kind + "where a regular file is to be written; move it away"));
  CHECK(directory.entries() == 1);
}

TEST_CASE("a stream is read to its end, and devices that never end are refused") {
  const TemporaryDirectory directory;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  REQUIRE(::write(ends[1], "piped", 5) == 5);
  ::close(ends[1]);
  CHECK(contains(io_error_of([&] { read_file("/dev/fd/" + std::to_string(ends[0]), 10); }), "write what comes out"));
  CHECK(read_stream("/dev/fd/" + std::to_string(ends[0]), 10) == "piped");
  ::close(ends[0]);
  CHECK(contains(io_error_of([] { read_stream("/dev/zero", 10); }), "/dev/zero: this is a device"));
  CHECK(contains(io_error_of([&] { read_stream(directory.path(), 10); }), "this is a directory"));
}

TEST_CASE("a link is never written through, and a file of two names keeps the other") {
  const TemporaryDirectory directory;
  const std::string mine = directory / "mine", link = directory / "link", second = directory / "second";
  write_file_synced(mine, "mine");
  std::filesystem::create_symlink("mine", link);
  std::filesystem::create_hard_link(mine, second);
  for (const auto& write : {std::function<void()>([&] { create_file(link); }),
                            {[&] { open_to_append(link); }},
                            {[&] { open_to_lock(link); }},
                            {[&] { write_file_atomically(link, "x"); }}})
    CHECK(contains(io_error_of(write), link + ": this is a symbolic link, where a regular file is to be written"));
  ::close(create_file(second));
  CHECK(read_file(second, 10, Empty::allowed).empty());
  CHECK(read_file(mine, 10) == "mine");
}

TEST_CASE("a file that is overwritten in place has another stamp, and one that was replaced is not at its path") {
  const TemporaryDirectory directory;
  const std::string path = directory / "a";
  write_file_synced(path, "12345");
  const RandomAccessFile file(path);
  const FileStamp before = file.stamp();
  CHECK(before.size == 5);
  CHECK(file.stamp() == before);
  const int descriptor = open_to_append(path);
  CHECK(is_at(descriptor, path));
  ::usleep(20'000);  // the clock of file systems ticks in milliseconds
  std::fstream(path, std::ios::in | std::ios::out) << "54321";
  CHECK_FALSE(file.stamp() == before);
  write_file_atomically(path, "new");
  CHECK_FALSE(is_at(descriptor, path));
  ::close(descriptor);
}

TEST_CASE("an error of the system is not taken for absence") {
  const TemporaryDirectory folder;
  std::ofstream(folder / "file") << "x";
  std::filesystem::create_symlink("loop", folder / "loop");
  std::filesystem::create_symlink("nowhere", folder / "dangling");
  CHECK(is_there(folder / "file"));
  CHECK(is_there(folder.path()));
  for (const std::string& name :
       {std::string("none"), std::string("none/x"), std::string("file/x"), std::string(300, 'x')})
    CHECK(!is_there(folder / name));
  CHECK(!is_there(folder / "dangling"));
  CHECK(is_there(folder / "dangling", Links::themselves));
  CHECK(is_there(folder / "loop", Links::themselves));
  CHECK(contains(io_error_of([&] { is_there(folder / "loop/x"); }), "cannot look for it: Too many levels of symbolic"));

  const int file = open_to_append(folder / "file");
  CHECK(is_at(file, folder / "file"));
  CHECK(!is_at(file, folder / "none"));
  CHECK(is_at(file, folder / "loop/x"));  // nobody knows, so nothing was seen to change
  ::close(file);
}

TEST_CASE("a write that runs out of room leaves the old file and nothing else") {
  const TemporaryDirectory directory;
  const std::string path = directory / "a", large(10'000, 'x');
  write_file_atomically(path, "old");
  std::string message, message_synced;
  {
    const FileSizeLimit limit(4096);
    message = io_error_of([&] { write_file_atomically(path, std::string_view(large)); });
    message_synced = io_error_of([&] { write_file_synced(directory / "b", std::string_view(large)); });
  }
  CHECK(
      contains(message, path + ": cannot write (4096 of 10000 bytes done): File too large; raise the file size limit"));
  CHECK(contains(message_synced, (directory / "b") + ": cannot write (4096 of 10000 bytes done)"));
  CHECK(read_file(path, 100) == "old");
  CHECK(directory.entries() == 1);
}

TEST_CASE("an atomic write over a directory fails and leaves no temporary file") {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "sub");
  const std::string message = io_error_of([&] { write_file_atomically(directory / "sub", "text"); });
  CHECK(contains(message, "/sub: this is a directory, where a regular file is to be written; move it away"));
  CHECK(contains(io_error_of([&] { write_file_atomically(directory / "sub/", "text"); }), "the path names no file"));
  CHECK(contains(io_error_of([&] { write_file_atomically(directory / "none/a", "text"); }),
                 "/none/a: cannot create the file: No such file or directory; check the path"));
  CHECK(contains(io_error_of([&] { sync_directory(directory / "none"); }), "cannot open the directory"));
  CHECK(directory.entries() == 1);
}

TEST_CASE("a directory without write permission is reported") {
  const TemporaryDirectory directory;
  const std::string secret = directory / "secret";
  write_file_synced(secret, "old");
  REQUIRE(::chmod(secret.c_str(), 0) == 0);
  REQUIRE(::chmod(directory.path().c_str(), 0555) == 0);
  std::string write_message, read_message;
  {
    const OrdinaryUser user;
    REQUIRE(user.active());
    write_message = io_error_of([&] { write_file_atomically(secret, "new"); });
    read_message = io_error_of([&] { read_file(secret, 100); });
  }
  REQUIRE(::chmod(directory.path().c_str(), 0755) == 0);
  REQUIRE(::chmod(secret.c_str(), 0644) == 0);
  CHECK(contains(write_message, "/secret: cannot create the file: Permission denied; check the permissions"));
  CHECK(contains(read_message, "/secret: cannot open: Permission denied"));
  CHECK(read_file(secret, 100) == "old");
  CHECK(directory.entries() == 1);
}

TEST_CASE("writing never follows a link and an unfinished file disappears") {
  const TemporaryDirectory directory;
  write_file_synced(directory / "target", "old");
  std::filesystem::create_symlink("target", directory / "link");
  CHECK(contains(io_error_of([&] { write_file_synced(directory / "link", "new"); }),
                 "this is a symbolic link, where a regular file is to be written"));
  CHECK(read_file(directory / "link", 100) == "old");
  {
    FileWriter writer(directory / "unfinished");
    writer.write(std::as_bytes(std::span("abc")));
    CHECK(directory.entries() == 3);
  }
  CHECK(directory.entries() == 2);
}
