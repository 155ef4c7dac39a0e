// The ticks of a report's charts.
#include <doctest/doctest.h>

#include "core/text.h"
#include "tools/weir/report/axis.h"

using namespace weir;

namespace {

std::string labels(double low, double high, Numbers numbers, Scale scale = Scale::linear) {
  std::vector<std::string> texts;
  for (const Axis::Tick& tick : Axis(low, high, scale, 0, 100, numbers).ticks(6)) texts.push_back(tick.label);
  return join(texts, " ");
}

}  // namespace

TEST_CASE("axis: steps are whole, and in one unit") {
  CHECK(labels(56, 57, Numbers::whole) == "56 57");
  CHECK(labels(0, 1, Numbers::whole) == "0 1");
  CHECK(labels(0, 600, Numbers::whole) == "0 100 200 300 400 500 600");
  CHECK(labels(0, 5000, Numbers::whole) == "0 1,000 2,000 3,000 4,000 5,000");
  CHECK(labels(0, 20000, Numbers::whole) == "0 5k 10k 15k 20k");
  CHECK(labels(0, 12000, Numbers::whole) == "0 2k 4k 6k 8k 10k 12k");
  CHECK(labels(0, 1.3e6, Numbers::whole) == "0 0.5M 1.0M");
  CHECK(labels(0, 3e9, Numbers::whole) == "0 0.5G 1.0G 1.5G 2.0G 2.5G 3.0G");
}

TEST_CASE("axis: any numbers") {
  CHECK(labels(0, 0.0025, Numbers::any) == "0 0.0005 0.0010 0.0015 0.0020 0.0025");
  CHECK(labels(0, 2.5e-5, Numbers::any) == "0 5e-6 1.0e-5 1.5e-5 2.0e-5 2.5e-5");
  CHECK(labels(-1, 1, Numbers::any) == "-1.0 -0.5 0 0.5 1.0");
  CHECK(labels(2.98, 3.02, Numbers::any) == "2.98 2.99 3.00 3.01 3.02");
}

TEST_CASE("axis: times in the divisions of a clock") {
  CHECK(labels(0, 90, Numbers::seconds) == "0 15s 30s 45s 1m 1m15s 1m30s");
  CHECK(labels(0, 5 * 3600, Numbers::seconds) == "0 1h 2h 3h 4h 5h");
  CHECK(labels(0, 8000, Numbers::seconds) == "0 30m 1h 1h30m 2h");
  CHECK(labels(0, 4 * 86400, Numbers::seconds) == "0 1d 2d 3d 4d");
  CHECK(labels(0, 0.5, Numbers::seconds) == "0 0.1s 0.2s 0.3s 0.4s 0.5s");
}

TEST_CASE("axis: logarithmic") {
  CHECK(labels(0.5, 30, Numbers::any, Scale::logarithmic) == "0.5 1 2 5 10 20");
  CHECK(labels(1e-6, 1e6, Numbers::any, Scale::logarithmic) == "1e-6 1e-4 0.01 1 100 10k 1M");
}
