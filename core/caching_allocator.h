// The allocator behind every device: blocks of a few sizes, kept for reuse.
#pragma once

#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/device.h"

namespace weir {

// Where a CachingAllocator gets its memory.
struct SystemMemory {
  void* (*allocate)(std::size_t bytes) = nullptr;  // null where there is none; aligned to Allocator::kAlignment
  void (*release)(void* block, std::size_t bytes) noexcept = nullptr;
  std::size_t limit_bytes = 0;
  std::string device;  // as messages name it: "cpu"
};

// Blocks are handed out again in the order of the work that uses them, so a block that is released while a device
// still computes on it is safe to reuse for later work on the same device.
class CachingAllocator final : public Allocator {
 public:
  explicit CachingAllocator(SystemMemory system) : system_(std::move(system)) {}

  void* allocate(std::size_t bytes) override;
  void release(void* block, std::size_t bytes) noexcept override;
  void trim() noexcept override;
  MemoryStatistics statistics() const override;
  void reset_peak() noexcept override;

 private:
  void* from_system(std::size_t size, std::size_t asked);
  void drop_kept() noexcept;

  const SystemMemory system_;
  mutable std::mutex mutex_;
  std::unordered_map<std::size_t, std::vector<void*>> kept_;
  MemoryStatistics statistics_;
};

}  // namespace weir
