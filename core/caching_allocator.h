// The allocator behind every device: blocks of a few sizes, kept for reuse.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/device.h"

namespace weir {

// What a device has at one moment, whoever holds the rest.
struct DeviceMemory {
  std::size_t free_bytes = 0, total_bytes = 0;
};

// The size of the block for so many bytes: one of four sizes per power of two, at most 25% more than asked for, and few
// enough sizes for blocks to be reused.
std::size_t size_class(std::size_t bytes);

// True where the environment says WEIR_EXACT_MEMORY=1: every block has exactly the size asked for, comes fresh from the
// system and goes back at once, so that a tool that watches memory sees where tensors end and what nobody wrote. Slow.
bool exact_memory_wanted();

// Where a CachingAllocator gets its memory.
struct SystemMemory {
  std::function<void*(std::size_t bytes)> allocate;  // null where there is none; aligned to Allocator::kAlignment
  std::function<void(void* block, std::size_t bytes)> release;  // does not throw
  std::size_t limit_bytes = 0;
  std::string device;                                     // as messages name it: "cpu"
  std::function<std::optional<DeviceMemory>()> now = {};  // does not throw; empty, or nothing, where nobody can tell
  bool exact = exact_memory_wanted();
};

// Blocks are handed out again in the order of the work that uses them, so a block that is released while a device
// still computes on it is safe to reuse for later work on the same device.
class CachingAllocator final : public Allocator {
 public:
  explicit CachingAllocator(SystemMemory system) : system_(std::move(system)) {}

  void* allocate(std::size_t bytes) override;
  void release(void* block, std::size_t bytes) noexcept override;
  void trim() noexcept override;
  std::size_t limit_bytes() const override;  // less what other programs hold, where the device tells
  MemoryStatistics statistics() const override;
  void reset_peak() noexcept override;
  // What other programs hold, where that is an eighth of the device or more; else 0, for less may be the driver's.
  std::size_t bytes_of_others() const;

  // A pool is the memory of work that is recorded once and replayed, and so must find its blocks untouched. Whatever is
  // handed out or released between begin_pool and end_pool belongs to it: it is reused within the pool at once, and
  // outside only after free_pool. One pool at a time is open. Exact memory, too, goes back to the system only then.
  using PoolId = int;
  void begin_pool();
  PoolId end_pool();
  void free_pool(PoolId pool) noexcept;  // blocks still handed out become ordinary ones

 private:
  using Kept = std::unordered_map<std::size_t, std::vector<void*>>;  // by size

  std::size_t block_size(std::size_t asked) const;
  static void* take(Kept& kept, std::size_t size);
  void* from_system(std::size_t size, std::size_t asked);
  // With the mutex held.
  void keep(Kept& kept, void* block, std::size_t size) noexcept;
  void keep_in_pool(void* block, std::size_t size) noexcept;
  void give_back(void* block, std::size_t size) noexcept;  // to the system
  void drop_kept() noexcept;
  std::string refusal(std::size_t size, std::size_t asked) const;  // in words
  std::optional<DeviceMemory> device_memory() const;
  std::size_t bytes_of_others(const DeviceMemory& memory) const;

  const SystemMemory system_;
  mutable std::mutex mutex_;
  Kept kept_;
  std::map<std::size_t, std::size_t, std::greater<>> in_use_;  // how many blocks of each size are handed out
  std::unordered_map<PoolId, Kept> pools_;
  std::unordered_map<void*, PoolId> pool_of_;  // every block of a pool, handed out or not
  PoolId open_pool_ = 0, last_pool_ = 0;       // 0: none
  MemoryStatistics statistics_;
};

// The same of a device: 0 where it does not tell.
std::size_t bytes_of_others(Device device);

}  // namespace weir
