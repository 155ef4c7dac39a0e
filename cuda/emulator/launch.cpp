#include "cuda/emulator/launch.h"

#include "cuda/emulator/device_memory.h"

namespace weir::emulator {
namespace {

constinit thread_local Order launch_order = Order::natural;

std::string text(dim3 d) {
  return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}

}  // namespace

void set_order(Order order) { launch_order = order; }
Order order() { return launch_order; }

void check_launch(const std::string& kernel, const LaunchShape& shape) {
  const auto refuse = [&](const std::string& what) { throw KernelError("launch of " + kernel + ": " + what); };
  const dim3 g = shape.grid, b = shape.block;
  if (b.x == 0 || b.y == 0 || b.z == 0 || b.z > 64 || std::uint64_t{b.x} * b.y * b.z > 1024)
    refuse("a block of " + text(b) + " threads; it may have 1 to 1024, at most 64 of them in z");
  if (g.x == 0 || g.y == 0 || g.z == 0 || g.x > 2147483647u || g.y > 65535 || g.z > 65535)
    refuse("a grid of " + text(g) + " blocks; x may be 1 to 2147483647, y and z 1 to 65535");
  if (shape.dynamic_shared_bytes > SharedMemory::kLimitBytes)
    refuse(std::to_string(shape.dynamic_shared_bytes) + " bytes of dynamic shared memory; a block may have " +
           std::to_string(SharedMemory::kLimitBytes));
}

void run_grid(const LaunchShape& shape, void (*kernel)(const void*), const void* argument) {
  static thread_local Block block;  // keeps its fibers
  const DeviceAccess access;
  const std::uint64_t blocks = std::uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::uint64_t id = launch_order == Order::natural ? i : blocks - 1 - i;
    const uint3 index{static_cast<unsigned>(id % shape.grid.x), static_cast<unsigned>(id / shape.grid.x % shape.grid.y),
                      static_cast<unsigned>(id / shape.grid.x / shape.grid.y)};
    block.run(shape, index, launch_order, kernel, argument);
  }
}

}  // namespace weir::emulator
