// Runs each input, and holds it to what is promised of parsers: a second of computing and 256 MiB of memory. Both are
// measured apart from what else the machine does and what sanitizers need for themselves: time of the processor, and
// bytes that are allocated at once. The instrumented code is slower than the product's, and must keep the second too.
#include <sanitizer/allocator_interface.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/fuzz_target.h"

namespace {

constexpr double kMostSeconds = 1;
constexpr std::int64_t kMostBytes = std::int64_t{256} << 20;

std::atomic<std::int64_t> live{0}, peak{0};
double slowest = 0;
std::int64_t largest = 0;

void count_allocated(const volatile void*, std::size_t size) {
  const std::int64_t now = live += static_cast<std::int64_t>(size);
  if (now > peak) peak = now;
}

void count_freed(const volatile void* block) {
  if (block != nullptr) live -= static_cast<std::int64_t>(__sanitizer_get_allocated_size(const_cast<void*>(block)));
}

double computing_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void print_most() {
  std::fprintf(stderr, "stat::most_seconds: %.2f\nstat::most_mb: %.1f\n", slowest,
               static_cast<double>(largest) / (1 << 20));
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool counts = [] {
    std::atexit(print_most);
    return __sanitizer_install_malloc_and_free_hooks(count_allocated, count_freed) != 0;
  }();
  weir::fuzz::require(counts, "allocations can be counted");
  const double start = computing_seconds();
  const std::int64_t before = live;
  peak = before;
  const int kept = weir::fuzz::try_input(data, size);
  const double seconds = computing_seconds() - start;
  const std::int64_t bytes = peak - before;
  slowest = std::max(slowest, seconds);
  largest = std::max(largest, bytes);
  if (seconds > kMostSeconds) weir::fuzz::fail("this input took " + std::to_string(seconds) + " s");
  if (bytes > kMostBytes) weir::fuzz::fail("this input took " + std::to_string(bytes) + " bytes");
  return kept;
}
