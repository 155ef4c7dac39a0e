#include "cuda/emulator/launch.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <random>

#include "cuda/emulator/device_memory.h"
#include "cuda/emulator/workers.h"

namespace weir::emulator {
namespace {

constinit thread_local Schedule launch_schedule;
constinit thread_local unsigned launch_workers = 1;

std::string text(dim3 d) {
  return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}

}  // namespace

void set_order(Order order, unsigned seed) {
  launch_schedule.order = order;
  launch_schedule.seed = seed;
}
void set_grouping(unsigned grouping) { launch_schedule.grouping = grouping; }
void set_workers(unsigned count) { launch_workers = std::max(count, 1u); }

void check_launch(const char* kernel, const LaunchShape& shape) {
  const auto refuse = [&](const std::string& what) {
    throw KernelError("launch of " + std::string(kernel) + ": " + what);
  };
  const dim3 g = shape.grid, b = shape.block;
  if (b.x == 0 || b.y == 0 || b.z == 0 || b.z > 64 || std::uint64_t{b.x} * b.y * b.z > 1024)
    refuse("a block of " + text(b) + " threads; it may have 1 to 1024, at most 64 of them in z");
  if (g.x == 0 || g.y == 0 || g.z == 0 || g.x > 2147483647u || g.y > 65535 || g.z > 65535)
    refuse("a grid of " + text(g) + " blocks; x may be 1 to 2147483647, y and z 1 to 65535");
  if (shape.dynamic_shared_bytes > SharedMemory::kLimitBytes)
    refuse(std::to_string(shape.dynamic_shared_bytes) + " bytes of dynamic shared memory; a block may have " +
           std::to_string(SharedMemory::kLimitBytes));
}

namespace {

// A permutation of the numbers below `count`: where the block stands that runs as number i.
class BlockOrder {
 public:
  BlockOrder(std::uint64_t count, Schedule schedule) : count_(count) {
    if (schedule.order == Order::reverse) {
      factor_ = count - 1;  // -1 modulo count
      offset_ = count - 1;
    } else if (schedule.order == Order::random) {
      std::mt19937_64 random(schedule.seed);
      do factor_ = random() % std::min<std::uint64_t>(count, 1u << 31);
      while (std::gcd(factor_, count) != 1);
      offset_ = random() % count;
    }
  }
  // Below 2^63 as long as the count is below 2^32; larger grids run in natural order.
  std::uint64_t operator()(std::uint64_t i) const { return count_ >> 32 != 0 ? i : (factor_ * i + offset_) % count_; }

 private:
  std::uint64_t count_, factor_ = 1, offset_ = 0;
};

}  // namespace

void run_grid(const LaunchShape& shape, void (*kernel)(const void*), const void* argument) {
  const dim3 grid = shape.grid;
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  const Schedule schedule = launch_schedule;
  const BlockOrder order(blocks, schedule);
  const auto workers = static_cast<unsigned>(std::min<std::uint64_t>(launch_workers, blocks));
  std::atomic<bool> failed = false;
  // Not by a common counter: who takes what would differ from run to run.
  const auto run_share = [&](unsigned worker) {
    static thread_local Block block;  // keeps its fibers
    const DeviceAccess access;
    for (std::uint64_t i = worker; i < blocks && !failed.load(std::memory_order_relaxed); i += workers) {
      const std::uint64_t id = order(i);
      const uint3 index{static_cast<unsigned>(id % grid.x), static_cast<unsigned>(id / grid.x % grid.y),
                        static_cast<unsigned>(id / grid.x / grid.y)};
      try {
        block.run(shape, index, schedule, kernel, argument);
      } catch (...) {
        failed = true;
        throw;
      }
    }
  };
  if (workers == 1)
    run_share(0);
  else
    run_on_workers(workers, run_share);
}

}  // namespace weir::emulator
