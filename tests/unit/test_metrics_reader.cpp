// Reading metrics.jsonl: what the writer wrote, and what crashes and editors leave behind.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "core/error.h"
#include "temporary_directory.h"
#include "train/metrics.h"
#include "train/metrics_reader.h"

using namespace weir;

namespace {

MetricsHistory history_of(const std::string& text) {
  const TemporaryDirectory folder;
  std::ofstream(folder / "metrics.jsonl", std::ios::binary) << text;
  return read_metrics(folder / "metrics.jsonl");
}

std::vector<std::int64_t> steps(const MetricSeries& series) {
  std::vector<std::int64_t> result;
  for (const MetricPoint& point : series) result.push_back(point.step);
  return result;
}

}  // namespace

TEST_CASE("metrics reader: what was written comes back") {
  const TemporaryDirectory folder;
  const std::string path = folder / "metrics.jsonl";
  {
    MetricsLog log(path, 1);
    const std::vector<Metric> first = {{"train/loss", 3.25}, {"odd \"name\"", -1e-300}};
    const std::vector<Metric> second = {{"train/loss", std::numeric_limits<double>::infinity()}, {"valid/loss", 2}};
    log.write(1, first);
    log.write(20, second);
  }
  const MetricsHistory history = read_metrics(path);
  CHECK(history.damaged_lines == 0);
  CHECK(steps(history.of("train/loss")) == std::vector<std::int64_t>{1, 20});
  CHECK(history.of("train/loss")[0].value == 3.25);
  CHECK(std::isnan(history.of("train/loss")[1].value));
  CHECK(history.last("odd \"name\"") == -1e-300);
  CHECK(history.last("valid/loss") == 2.0);
  CHECK(history.of("time").size() == 2);
  CHECK(history.of("step").empty());
  CHECK(!history.last("nothing"));
}

TEST_CASE("metrics reader: damaged lines are passed over and counted") {
  const MetricsHistory history = history_of(
      "{\"step\":1,\"a\":1}\n"
      "\n"
      "not json\n"
      "[1,2]\n"
      "{\"a\":5}\n"
      "{\"step\":1.5,\"a\":5}\n"
      "{\"step\":\"2\",\"a\":5}\n"
      "{\"step\":3,\"a\":\"text\",\"b\":[1],\"c\":true,\"d\":4}\n"
      "\xff\xfe\n"
      "{\"step\":4,\"a\":2}\n"
      "{\"step\":5,\"a\":");
  CHECK(history.damaged_lines == 8);
  CHECK(history.first_wrong.ends_with("metrics.jsonl:2: this is not a whole JSON object"));
  CHECK(passed_over(history).ends_with("; this line is passed over, one of 8 that are damaged"));
  CHECK(steps(history.of("a")) == std::vector<std::int64_t>{1, 4});
  CHECK(steps(history.of("d")) == std::vector<std::int64_t>{3});
  CHECK(history.of("b").empty());
  CHECK(history.of("c").empty());
  CHECK(history_of("").series.empty());
}

TEST_CASE("metrics reader: a step that cannot be is no result") {
  const MetricsHistory history = history_of(
      "{\"step\":-1,\"a\":9}\n{\"step\":1,\"a\":1}\n{\"step\":18446744073709551615,\"a\":9}\n"
      "{\"step\":9007199254740993,\"a\":9}\n");
  CHECK(steps(history.of("a")) == std::vector<std::int64_t>{1});
  CHECK(history.damaged_lines == 3);
  CHECK(history.first_wrong.find("metrics.jsonl:1: step: it is -1, expected 0 to 9007199254740992") !=
        std::string::npos);
  CHECK(passed_over(history).ends_with("; this line is passed over, one of 3 that are damaged"));
}

TEST_CASE("metrics reader: a step that comes again replaces what followed") {
  const MetricsHistory history = history_of(
      "{\"step\":1,\"a\":1,\"tokens\":10}\n{\"step\":1,\"b\":7,\"tokens\":11}\n{\"step\":2,\"a\":2}\n"
      "{\"step\":3,\"a\":3}\n{\"step\":2,\"a\":9}\n{\"step\":4,\"a\":4}\n");
  CHECK(steps(history.of("a")) == std::vector<std::int64_t>{1, 2, 4});
  CHECK(history.of("a")[1].value == 9);
  CHECK(steps(history.of("b")) == std::vector<std::int64_t>{1});
  CHECK(history.of("tokens").size() == 1);
  CHECK(history.last("tokens") == 11.0);
}

TEST_CASE("metrics reader: the lowest value and its step") {
  const MetricsHistory history =
      history_of("{\"step\":1,\"a\":null}\n{\"step\":2,\"a\":3}\n{\"step\":3,\"a\":1}\n{\"step\":4,\"a\":1}\n");
  REQUIRE(history.lowest("a"));
  CHECK(history.lowest("a")->step == 3);
  CHECK(history.lowest("a")->value == 1);
  CHECK(!history_of("{\"step\":1,\"a\":null}\n").lowest("a"));
}

TEST_CASE("metrics reader: a file that is not there") {
  const TemporaryDirectory folder;
  CHECK_THROWS_WITH_AS(read_metrics(folder / "none.jsonl"), doctest::Contains("cannot open: No such file"), RunError);
}
