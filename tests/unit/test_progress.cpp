// The progress line and its numbers.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <limits>

#include "core/file.h"
#include "tests/unit/temporary_directory.h"
#include "train/progress.h"

using namespace weir;

namespace {

const Progress example{.step = 120,
                       .steps = 600,
                       .loss = 1.834,
                       .learning_rate = 1.8e-3,
                       .tokens_per_second = 21400,
                       .gradient_norm = 0.31,
                       .seconds_left = 72};
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// What a ProgressLine prints while `use` works with it.
template <class Use>
std::string printed(bool live, int columns, Use use) {
  const TemporaryDirectory folder;
  const std::string path = folder / "printed";
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  {
    Output output(descriptor, "a file");
    ProgressLine line(output, live, columns);
    use(line);
  }
  close(descriptor);
  return read_file(path, 1 << 20, Empty::allowed);
}

}  // namespace

TEST_CASE("progress: durations") {
  CHECK(format_duration(0) == "0s");
  CHECK(format_duration(59.4) == "59s");
  CHECK(format_duration(59.6) == "1m00s");
  CHECK(format_duration(72) == "1m12s");
  CHECK(format_duration(3599.7) == "1h00m");
  CHECK(format_duration(7500) == "2h05m");
  CHECK(format_duration(86400 * 3 + 3600 * 4) == "3d04h");
  CHECK(format_duration(-1) == "?");
  CHECK(format_duration(nan) == "?");
  CHECK(format_duration(infinity) == "?");
}

TEST_CASE("progress: numbers with SI prefixes") {
  CHECK(format_si(0) == "0");
  CHECK(format_si(7) == "7");
  CHECK(format_si(0.5) == "0.50");
  CHECK(format_si(99.97) == "100");
  CHECK(format_si(999) == "999");
  CHECK(format_si(999.6) == "1.00k");
  CHECK(format_si(1000) == "1.00k");
  CHECK(format_si(9996) == "10.0k");
  CHECK(format_si(21400) == "21.4k");
  CHECK(format_si(999499) == "999k");
  CHECK(format_si(999600) == "1.00M");
  CHECK(format_si(1.83e6) == "1.83M");
  CHECK(format_si(-21400) == "-21.4k");
  CHECK(format_si(5e18) == "5000P");
  CHECK(format_si(nan) == "nan");
}

TEST_CASE("progress: the whole line, and shorter where columns are few") {
  CHECK(progress_text(example) ==
        "step 120/600 | loss 1.834 | bpb 2.646 | lr 1.8e-03 | 21.4k tok/s | grad 0.31 | eta 1m12s");
  CHECK(progress_text(example, 80) == "step 120/600 loss 1.834 bpb 2.646 lr 1.8e-03 21.4k tok/s grad 0.31 eta 1m12s");
  CHECK(progress_text(example, 70) == "step 120/600 loss 1.834 bpb 2.646 lr 1.8e-03 21.4k tok/s eta 1m12s");
  CHECK(progress_text(example, 40) == "step 120/600 | loss 1.834 | eta 1m12s");
  CHECK(progress_text(example, 0) == "step 120/600");
  for (int columns = 12; columns < 100; ++columns)
    CHECK(progress_text(example, columns).size() <= static_cast<std::size_t>(columns));
}

TEST_CASE("progress: perplexity where tokens are not bytes, in as many columns") {
  Progress tokens = example;
  tokens.is_bytes = false;
  const auto line = [&](double loss) {
    tokens.loss = loss;
    return progress_text(tokens, 80);
  };
  const std::string rest = " lr 1.8e-03 21.4k tok/s grad 0.31 eta 1m12s";
  CHECK(line(1.834) == "step 120/600 loss 1.834 ppl 6.26" + rest);
  CHECK(line(4.2) == "step 120/600 loss 4.200 ppl 66.69" + rest);
  CHECK(line(6.5) == "step 120/600 loss 6.500 ppl 665.1" + rest);
  CHECK(line(9) == "step 120/600 loss 9.000 ppl 8103" + rest);
  CHECK(line(11).find("ppl 6.0e+04") != std::string::npos);
  CHECK(line(1e4).find("ppl inf") != std::string::npos);
}

TEST_CASE("progress: unknown and absurd values") {
  Progress odd{.step = 3, .loss = infinity, .gradient_norm = 1e30};
  CHECK(progress_text(odd) == "step 3 | loss inf | bpb inf | lr 0.0e+00 | 0 tok/s | grad 1.0e+30");
  odd.loss = nan;
  CHECK(progress_text(odd) == "step 3 | loss nan | bpb nan | lr 0.0e+00 | 0 tok/s | grad 1.0e+30");
}

TEST_CASE("progress: without a terminal a line per log interval and no control characters") {
  const std::string text = printed(false, 80, [](ProgressLine& line) {
    Progress progress = example;
    for (progress.step = 1; progress.step <= 20; ++progress.step) line.update(progress, progress.step % 10 == 0);
    line.message("saved");
  });
  CHECK(text ==
        "step 10/600 | loss 1.834 | bpb 2.646 | lr 1.8e-03 | 21.4k tok/s | grad 0.31 | eta 1m12s\n"
        "step 20/600 | loss 1.834 | bpb 2.646 | lr 1.8e-03 | 21.4k tok/s | grad 0.31 | eta 1m12s\n"
        "saved\n");
}

TEST_CASE("progress: on a terminal the line is rewritten in place") {
  const Progress first{.step = 1, .steps = 2};
  const Progress second{.step = 2, .steps = 2};
  const std::string text = printed(true, 12, [&](ProgressLine& line) {
    line.update(first, true);
    line.message("saved");
    line.update(second, false);  // too soon after the last drawing
  });
  const std::string clear = "\x1b[K";
  CHECK(text == "\rstep 1/2" + clear + "\r" + clear + "saved\n\rstep 1/2" + clear + "\rstep 2/2" + clear + "\n");
}

TEST_CASE("progress: nothing shown, nothing left behind") {
  CHECK(printed(true, 80, [](ProgressLine&) {}).empty());
  CHECK(printed(false, 80, [](ProgressLine&) {}).empty());
}
