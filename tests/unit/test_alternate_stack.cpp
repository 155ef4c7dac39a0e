// Where handlers run: on a stack of their own, on every thread of the pool.
#include <doctest/doctest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "core/alternate_stack.h"
#include "core/parallel.h"

using namespace weir;

namespace {

bool has_alternate_stack() {
  stack_t stack{};
  return sigaltstack(nullptr, &stack) == 0 && (stack.ss_flags & SS_DISABLE) == 0;
}

// How far the handler's frame is from the frame of the code it interrupted.
std::atomic<std::ptrdiff_t> distance{0};
thread_local const char* interrupted_at = nullptr;

void measure(int) {
  const char here = 0;
  distance = std::abs(interrupted_at - &here);
}

std::ptrdiff_t distance_of_handler() {
  const char here = 0;
  interrupted_at = &here;
  raise(SIGUSR2);
  return distance;
}

}  // namespace

TEST_CASE("alternate stack: a thread's handlers run there while it lives, and not afterwards") {
  struct sigaction action {
  }, before{};
  action.sa_handler = measure;
  action.sa_flags = SA_ONSTACK;
  REQUIRE(sigaction(SIGUSR2, &action, &before) == 0);
  std::thread([] {
    if (has_alternate_stack()) {
      MESSAGE("skipped: here every thread has an alternate stack from its start, as under AddressSanitizer");
      return;
    }
    CHECK(distance_of_handler() < 1 << 16);
    {
      const AlternateStack stack;
      CHECK(has_alternate_stack());
      CHECK(distance_of_handler() > 1 << 16);
      const AlternateStack second;  // leaves the first in place
      CHECK(has_alternate_stack());
    }
    CHECK_FALSE(has_alternate_stack());
  }).join();
  sigaction(SIGUSR2, &before, nullptr);
}

TEST_CASE("alternate stack: every helper of the pool has one") {
  const int threads = thread_count();
  set_thread_count(3);
  std::atomic<int> met{0}, with{0};
  const auto caller = std::this_thread::get_id();
  // Three chunks that wait for one another, so that each is on a thread of its own.
  parallel_for(3, 1, [&](std::int64_t, std::int64_t) {
    for (++met; met < 3;) std::this_thread::yield();
    if (std::this_thread::get_id() != caller) with += has_alternate_stack();
  });
  CHECK(with == 2);
  set_thread_count(threads);
}
