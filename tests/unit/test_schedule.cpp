// The learning rate over a run, and what ends one.
#include <doctest/doctest.h>

#include <vector>

#include "train/schedule.h"

using namespace weir;

TEST_CASE("learning rates of the paper") {
  const TrainConfig train{.steps = 100000};
  const auto rate = [&](const OptimizerConfig& config, std::int64_t step) {
    return learning_rate(config, step, decay_progress(config, train, 1000, step, 0));
  };
  const OptimizerConfig plain{.lr = 2.5e-4};
  CHECK(rate(plain, 0) == doctest::Approx(2.5e-4).epsilon(1e-14));
  CHECK(rate(plain, 50000) == doctest::Approx(1.25e-4).epsilon(1e-12));
  CHECK(rate(plain, 100000) == doctest::Approx(0).epsilon(1e-14));
  const OptimizerConfig warm{.lr = 2.5e-4, .warmup_steps = 4000, .decay_steps = 100000};
  CHECK(rate(warm, 0) == doctest::Approx(2.5e-4 / 4000).epsilon(1e-14));
  CHECK(rate(warm, 1999) == doctest::Approx(1.25e-4).epsilon(1e-14));
  CHECK(rate(warm, 3999) == doctest::Approx(2.5e-4).epsilon(1e-14));
  CHECK(rate(warm, 4000) == doctest::Approx(2.5e-4).epsilon(1e-14));
  CHECK(rate(warm, 54000) == doctest::Approx(1.25e-4).epsilon(1e-12));
  CHECK(rate(warm, 99999) == doctest::Approx(9.86e-7).epsilon(2e-3));
  const OptimizerConfig floor{.lr = 2e-3, .decay_steps = 100, .min_lr = 1e-4};
  CHECK(rate(floor, 50) == doctest::Approx(1.05e-3).epsilon(1e-12));
  CHECK(rate(floor, 100) == doctest::Approx(1e-4).epsilon(1e-12));
  CHECK(rate(floor, 5000) == doctest::Approx(1e-4).epsilon(1e-12));
  const OptimizerConfig constant{.lr = 3e-3, .warmup_steps = 2, .schedule = "constant"};
  CHECK(rate(constant, 0) == doctest::Approx(1.5e-3));
  CHECK(rate(constant, 90000) == 3e-3);
}

TEST_CASE("what limits a run") {
  CHECK(step_limit({.steps = 7}, 10) == 7);
  CHECK(step_limit({.tokens = 95}, 10) == 10);
  CHECK(step_limit({.steps = 7, .tokens = 50}, 10) == 5);
  CHECK(step_limit({.minutes = 3}, 10) == 0);
  CHECK(decay_progress({}, {.minutes = 2}, 10, 999, 30) == doctest::Approx(0.25));
  CHECK(decay_progress({}, {.tokens = 100}, 10, 5, 0) == doctest::Approx(0.5));
}

TEST_CASE("schedules: where each begins, is half-way and ends, and which need an end") {
  OptimizerConfig config{.lr = 1, .warmup_steps = 4, .min_lr = 0.2};
  const auto rates = [&](const char* schedule) {
    config.schedule = schedule;
    std::vector<double> values;
    for (const double progress : {0.0, 0.25, 0.5, 1.0, 2.0}) values.push_back(learning_rate(config, 4, progress));
    CHECK(learning_rate(config, 1, 0) == 0.5);
    return values;
  };
  CHECK(rates("constant") == std::vector<double>(5, 1));
  CHECK_FALSE(needs_end(config));
  const std::vector<double> linear = rates("linear"), cosine = rates("cosine");
  const double expected_linear[] = {1, 0.8, 0.6, 0.2, 0.2},
               expected_cosine[] = {1, 0.2 + 0.8 * 0.85355339, 0.6, 0.2, 0.2};
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(linear[i] == doctest::Approx(expected_linear[i]));
    CHECK(cosine[i] == doctest::Approx(expected_cosine[i]));
  }
  CHECK(needs_end(config));
}
