// The limits of a training step: what counts as a spike, and what does not.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/philox.h"
#include "train/spike_detector.h"

using namespace weir;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

SpikeDetector after(std::size_t steps, double loss, double norm, double spread = 0) {
  SpikeDetector detector(256);
  for (std::size_t i = 0; i < steps; ++i) {
    const double off = i % 2 == 0 ? spread : -spread;
    detector.accept(loss + off, norm + off);
  }
  return detector;
}

}  // namespace

TEST_CASE("spike detector: what is not finite is allowed by no limit") {
  for (const StepLimits& limits : {SpikeDetector(256).limits(), after(64, 2, 1).limits(),
                                   StepLimits{kInfinity, kInfinity}, StepLimits{kNan, kNan}})
    for (const double bad : {kNan, kInfinity, -kInfinity}) {
      CHECK_FALSE(limits.allow(bad, 1));
      CHECK_FALSE(limits.allow(1, bad));
    }
  CHECK_FALSE(StepLimits{kNan, 1}.allow(0, 0));
  CHECK_FALSE(StepLimits{1, kNan}.allow(0, 0));
}

TEST_CASE("spike detector: before it knows the run only the absurd counts") {
  for (const std::size_t steps : {std::size_t{0}, std::size_t{1}, SpikeDetector::kWarmUp - 1}) {
    const StepLimits limits = after(steps, 2, 1).limits();
    CHECK(limits.allow(55, 1e6));
    CHECK_FALSE(limits.allow(56, 1));
    CHECK_FALSE(limits.allow(2, 1e10));
    CHECK_FALSE(limits.allow(1e30, 1));
  }
  CHECK(SpikeDetector(256).suspicious_loss() > 60);
  CHECK(after(1, 2, 1).suspicious_loss() == doctest::Approx(std::log(256) + 6));
}

TEST_CASE("spike detector: afterwards it is median and median absolute deviation, from a floor on") {
  const StepLimits low = after(SpikeDetector::kWarmUp, 2, 0.1).limits();
  CHECK(low.loss == std::log(256) + 5);  // the floor
  CHECK(low.gradient_norm == 1e3);
  // Above the floor: median 40 (or its neighbour 40.5), spread 1.4826 x 0.5 or a twentieth of 40.
  CHECK(after(64, 40, 1e4, 0).limits().loss == doctest::Approx(40 + 10 * 2));
  CHECK(after(64, 40, 1e4, 4).limits().loss == doctest::Approx(44 + 10 * 1.4826 * 8));
  CHECK(after(64, 40, 1e4, 0).limits().gradient_norm == doctest::Approx(1e4 + 1000 * 500));
  // A few values far off move neither.
  SpikeDetector detector = after(60, 40, 1e4);
  const StepLimits before = detector.limits();
  for (int i = 0; i < 4; ++i) detector.accept(59, 5e5);
  CHECK(detector.limits().loss == before.loss);
  CHECK(detector.limits().gradient_norm == before.gradient_norm);
}

TEST_CASE("spike detector: it follows the run, and goes on from a stored window") {
  SpikeDetector detector = after(64, 100, 1);
  CHECK(detector.limits().loss == doctest::Approx(150));
  for (std::size_t i = 0; i < SpikeDetector::kWindow; ++i) detector.accept(20, 2);
  CHECK(detector.window().losses == std::vector<double>(SpikeDetector::kWindow, 20));
  CHECK(detector.limits().loss == doctest::Approx(30));
  SpikeDetector other(256);
  other.set_window(detector.window());
  CHECK(other.limits().loss == detector.limits().loss);
  CHECK(other.limits().gradient_norm == detector.limits().gradient_norm);
}

TEST_CASE("spike detector: no false alarm on losses that fall, jump between texts, or are all but zero") {
  const RandomStream random{5, 0, 0};
  for (const double noise : {0.0, 0.1, 0.5, 1.0})
    for (int kind = 0; kind < 3; ++kind) {
      SpikeDetector detector(256);
      for (std::uint64_t step = 0; step < 4000; ++step) {
        const double u = static_cast<double>(random.bits(step)) / 4294967296.0;
        const auto t = static_cast<double>(step);
        // Learning; learning that meets another text every 500 steps; a text learnt by heart, then an unknown one.
        const double loss = kind == 0   ? 1 + 7 * std::exp(-t / 200) + noise * u
                            : kind == 1 ? (step / 500 % 2 == 0 ? 1.5 : 6.5) + noise * u
                                        : (step % 1000 < 900 ? 1e-6 : 8) + noise * u;
        const double norm = 0.1 + 30 * std::exp(-t / 50) + (step % 97 == 0 ? 80 : u);
        CAPTURE(step);
        CHECK(detector.limits().allow(loss, norm));
        detector.accept(loss, norm);
      }
    }
}

TEST_CASE("spike detector: a jump is suspicious, and a long stay above guessing is a lost run") {
  SpikeDetector detector = after(64, 2, 1);
  CHECK(detector.suspicious_loss() == doctest::Approx(3));  // ten times a twentieth of the median
  CHECK(after(64, 0.2, 1).suspicious_loss() == doctest::Approx(0.7));
  CHECK(after(64, 2, 1, 0.5).suspicious_loss() == doctest::Approx(2.5 + 10 * 1.4826));
  CHECK(detector.recent_loss() == 2);
  CHECK(SpikeDetector(256).recent_loss() == 0);
  CHECK(detector.good_loss() == doctest::Approx(std::log(256) + 1));
  CHECK_FALSE(detector.is_lost());
  for (int i = 0; i < 4; ++i) detector.accept(7, 1);
  CHECK(detector.recent_loss() == 7);
  for (int i = 0; i < 27; ++i) detector.accept(7, 1);
  CHECK_FALSE(detector.is_lost());
  detector.accept(7, 1);
  CHECK(detector.is_lost());
  // A model that begins far above guessing is not lost: it is compared with itself.
  CHECK_FALSE(after(64, 40, 1).is_lost());
  CHECK(after(64, 40, 1).good_loss() == doctest::Approx(41));
}
