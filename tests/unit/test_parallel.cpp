// The thread pool where the system refuses it threads.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <numeric>
#include <vector>

#include "core/parallel.h"

using namespace weir;

namespace {

// As much address space as is in use, and `bytes` more, for as long as the object lives.
class LittleAddressSpace {
 public:
  explicit LittleAddressSpace(std::size_t bytes) {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    getrlimit(RLIMIT_AS, &before_);
    rlimit little = before_;
    little.rlim_cur = pages * static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE)) + bytes;
    REQUIRE(setrlimit(RLIMIT_AS, &little) == 0);
  }
  ~LittleAddressSpace() { setrlimit(RLIMIT_AS, &before_); }
  LittleAddressSpace(const LittleAddressSpace&) = delete;
  LittleAddressSpace& operator=(const LittleAddressSpace&) = delete;

 private:
  rlimit before_{};
};

std::atomic<int> told_asked, told_granted, times_told;

// One partial sum per chunk, added in order.
float sum_of_parts() {
  std::vector<float> parts(1000);
  parallel_for(100'000, 100, [&](std::int64_t begin, std::int64_t end) {
    float& part = parts[static_cast<std::size_t>(begin / 100)];
    for (std::int64_t i = begin; i < end; ++i) part += 1 / static_cast<float>(i + 1);
  });
  return std::accumulate(parts.begin(), parts.end(), 0.0f);
}

}  // namespace

TEST_CASE("parallel: with fewer threads than asked for, loops run on those, and it is told once") {
#ifdef __SANITIZE_ADDRESS__
  MESSAGE("skipped: AddressSanitizer ends a process to which address space is refused");
  return;
#endif
  const int before = thread_count();
  set_thread_count(1);
  const float expected = sum_of_parts();
  told_asked = told_granted = times_told = 0;
  on_refused_threads([](int asked, int granted) {
    told_asked = asked, told_granted = granted;
    ++times_told;
  });
  set_thread_count(300);
  {
    // Each stack takes 8 MiB as a rule; some may be left of threads that have ended.
    const LittleAddressSpace little(std::size_t{64} << 20);
    for (int i = 0; i < 20; ++i) CHECK(sum_of_parts() == expected);
  }
  CHECK(times_told == 1);
  CHECK(told_asked == 300);
  CHECK(told_granted >= 1);
  CHECK(told_granted < 300);
  set_thread_count(2);
  CHECK(sum_of_parts() == expected);
  CHECK(times_told == 1);
  on_refused_threads(nullptr);
  set_thread_count(before);
}
