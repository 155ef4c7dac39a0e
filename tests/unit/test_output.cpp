// Standard output when it breaks.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <functional>

#include "core/error.h"
#include "core/file.h"
#include "core/output.h"
#include "tests/unit/temporary_directory.h"

using namespace weir;

namespace {

struct File {
  explicit File(const std::string& path) : descriptor(open(path.c_str(), O_WRONLY | O_CREAT, 0600)) {}
  ~File() { close(descriptor); }
  const int descriptor;
};

ExitCode code_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const RunError& error) {
    return error.code();
  }
  return ExitCode::internal;  // nothing was thrown
}

}  // namespace

TEST_CASE("output: everything arrives, in order") {
  const TemporaryDirectory folder;
  const File file(folder / "printed");
  Output output(file.descriptor, "a file");
  std::string expected;
  for (int i = 0; i < 30000; ++i) {
    const std::string text = std::to_string(i) + "\n";
    (i % 2 == 0) ? output.write(text) : output.try_write(text);
    expected += text;
  }
  output.finish();
  CHECK(read_file(folder / "printed", 1 << 20) == expected);
}

TEST_CASE("output: a full device is an error, once it is noticed and at the end") {
  const File full("/dev/full");
  Output output(full.descriptor, "standard output");
  output.write("waits\n");
  CHECK_THROWS_WITH_AS(output.flush(),
                       "standard output: cannot write: No space left on device; free some space or use another place",
                       RunError);
  CHECK(code_of([&] { output.write("more"); }) == ExitCode::io);
  CHECK(code_of([&] { output.finish(); }) == ExitCode::io);
}

TEST_CASE("output: what is told by the way never throws, but is missed at the end") {
  const File full("/dev/full");
  Output output(full.descriptor, "standard output");
  output.try_write("progress\n");
  output.try_flush();
  CHECK(code_of([&] { output.finish(); }) == ExitCode::io);
}

TEST_CASE("output: a reader who has gone is no error, and ends only what was for him") {
  signal(SIGPIPE, SIG_IGN);
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  close(ends[0]);
  Output output(ends[1], "standard output");
  output.try_write("progress\n");
  output.try_flush();
  CHECK(code_of([&] { output.write("a result\n"); }) == ExitCode::success);
  CHECK_NOTHROW(output.finish());
  close(ends[1]);
}

TEST_CASE("output: what cannot be written to says so") {
  const int readable = open("/dev/null", O_RDONLY);
  Output output(readable, "standard output");
  output.write("x");
  CHECK_THROWS_WITH_AS(output.finish(), "standard output: it is closed; leave it open, or send it to /dev/null",
                       RunError);
  close(readable);
}
