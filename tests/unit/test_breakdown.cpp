// Where a step's time went: self times that add up, and matrix products of every thread at the op they belong to.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/parallel.h"
#include "core/profile_range.h"
#include "ops/cpu/gemm.h"
#include "tools/weir/breakdown.h"

using namespace weir;

namespace {

using Clock = std::chrono::steady_clock;
constexpr double kPause = 0.002;  // seconds; a thread sleeps at least as long as it is told to

void rest() { std::this_thread::sleep_for(std::chrono::duration<double>(kPause)); }

const BreakdownRow* row_of(const Breakdown& b, const std::string& name) {
  const auto place = std::find_if(b.rows.begin(), b.rows.end(), [&](const BreakdownRow& r) { return r.name == name; });
  return place == b.rows.end() ? nullptr : &*place;
}

void multiply_on_all_threads() {
  const std::vector<float> a(64 * 32, 1.0f), b(32 * 80, 1.0f);
  std::vector<float> c(64 * 80);
  cpu::parallel_gemm<float, float>(64, 80, 32, {a.data(), 32}, {b.data(), 80}, c.data(), 80, Float32Products::ieee);
}

}  // namespace

TEST_CASE("breakdown: an op's time is its own, and all rows add up to the step") {
  const auto start = Clock::now();
  const Breakdown b = break_down(3, [] {
    rest();
    const ProfileRange outer("outer");
    rest();
    for (int i = 0; i < 2; ++i) {
      const ProfileRange inner("inner");
      rest();
    }
  });
  const double wall = std::chrono::duration<double>(Clock::now() - start).count() / 3;
  REQUIRE(b.rows.size() == 3);
  double sum = 0;
  for (const BreakdownRow& row : b.rows) sum += row.seconds;
  CHECK(b.steps == 3);
  CHECK(b.seconds == doctest::Approx(sum));
  CHECK(sum <= wall);  // more, if outer's time held inner's
  CHECK(row_of(b, kOutside)->seconds >= kPause);
  CHECK(row_of(b, "outer")->seconds >= kPause);
  CHECK(row_of(b, "inner")->seconds >= 2 * kPause);
  CHECK(row_of(b, "outer")->calls == 1);
  CHECK(row_of(b, "inner")->calls == 2);
  CHECK(b.product_flops() == 0);
  CHECK(
      std::is_sorted(b.rows.begin(), b.rows.end(), [](const auto& x, const auto& y) { return x.seconds > y.seconds; }));
}

TEST_CASE("breakdown: products count for the op that the calling thread is in, on whatever thread they run") {
  const Breakdown b = break_down(2, [] {
    const ProfileRange op("op");
    std::thread([] {
      const ProfileRange elsewhere("elsewhere");
      const ProfileRange product("matrix product", 1000);
      rest();
    }).join();
  });
  CHECK(b.rows.size() == 2);
  REQUIRE(row_of(b, "op") != nullptr);
  CHECK(row_of(b, "op")->product_flops == 1000);
  CHECK(row_of(b, "op")->product_seconds >= kPause / thread_count());
  CHECK(row_of(b, kOutside)->product_flops == 0);
  CHECK(b.product_seconds() == row_of(b, "op")->product_seconds);
}

TEST_CASE("breakdown: every tile of a matrix product is counted, once") {
  const Breakdown b = break_down(2, [] {
    {
      const ProfileRange op("op");
      multiply_on_all_threads();
    }
    multiply_on_all_threads();
  });
  REQUIRE(row_of(b, "op") != nullptr);
  CHECK(row_of(b, "op")->product_flops == 2 * 64 * 80 * 32);
  CHECK(row_of(b, kOutside)->product_flops == 2 * 64 * 80 * 32);
  CHECK(b.product_seconds() <= b.seconds);
  CHECK(break_down(1, multiply_on_all_threads).product_flops() == 2 * 64 * 80 * 32);  // nothing is left of before
}

TEST_CASE("breakdown: the profiler's hooks are there again afterwards") {
  const ProfileHooks before = profile_hooks;
  profile_hooks = {.begin = [](const char*, double) {}, .end = [] {}};
  const auto begin = profile_hooks.begin;
  break_down(1, [] {});
  CHECK((profile_hooks.begin == begin));
  CHECK_THROWS_AS(break_down(1, [] { throw std::runtime_error("step"); }), std::runtime_error);
  CHECK((profile_hooks.begin == begin));
  profile_hooks = before;
}
