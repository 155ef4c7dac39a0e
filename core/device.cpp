#include "core/device.h"

#include <fmt/format.h>
#include <unistd.h>

#include <bit>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/error.h"

namespace weir {

std::size_t memory_limit_bytes() {
  auto limit = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
  std::size_t group = 0;
  if (std::ifstream file("/sys/fs/cgroup/memory.max"); file >> group && group > 0 && group < limit) limit = group;
  return limit;
}

namespace {

// Rounds up to one of four sizes per power of two: at most 25% slack, and few enough sizes for blocks to be reused.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 256) return 256;
  const std::size_t step = std::bit_floor(bytes) / 4;
  return (bytes + step - 1) / step * step;
}

class CachingHostAllocator final : public Allocator {
 public:
  void* allocate(std::size_t bytes) override {
    const std::size_t size = size_class(bytes);
    std::lock_guard lock(mutex_);
    void* block = nullptr;
    if (auto& kept = kept_[size]; !kept.empty()) {
      block = kept.back();
      kept.pop_back();
    } else {
      block = from_system(size, bytes);
    }
    statistics_.in_use_bytes += size;
    statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.in_use_bytes);
    return block;
  }

  void release(void* block, std::size_t bytes) noexcept override {
    if (block == nullptr) return;
    const std::size_t size = size_class(bytes);
    std::lock_guard lock(mutex_);
    statistics_.in_use_bytes -= size;
    try {
      kept_[size].push_back(block);
    } catch (const std::bad_alloc&) {
      std::free(block);
      statistics_.reserved_bytes -= size;
    }
  }

  void trim() noexcept override {
    std::lock_guard lock(mutex_);
    drop_kept();
  }

  MemoryStatistics statistics() const override {
    std::lock_guard lock(mutex_);
    return statistics_;
  }

  void reset_peak() noexcept override {
    std::lock_guard lock(mutex_);
    statistics_.peak_bytes = statistics_.in_use_bytes;
  }

 private:
  void* from_system(std::size_t size, std::size_t asked) {
    if (statistics_.reserved_bytes + size > limit_) drop_kept();
    void* block = statistics_.reserved_bytes + size > limit_ ? nullptr : std::aligned_alloc(kAlignment, size);
    if (block == nullptr)
      throw RunError(
          ExitCode::out_of_memory,
          fmt::format("out of memory: {:.1f} MiB asked for, {:.1f} MiB in use, limit {:.1f} MiB; lower "
                      "train.batch_size or model.segment, or raise train.accumulate",
                      static_cast<double>(asked) / 1048576.0, static_cast<double>(statistics_.in_use_bytes) / 1048576.0,
                      static_cast<double>(limit_) / 1048576.0));
    statistics_.reserved_bytes += size;
    ++statistics_.system_allocations;
    return block;
  }

  void drop_kept() noexcept {
    for (auto& [size, blocks] : kept_) {
      for (void* block : blocks) std::free(block);
      statistics_.reserved_bytes -= size * blocks.size();
      blocks.clear();
    }
  }

  mutable std::mutex mutex_;
  std::unordered_map<std::size_t, std::vector<void*>> kept_;
  MemoryStatistics statistics_;
  const std::size_t limit_ = memory_limit_bytes();
};

}  // namespace

std::string device_name(Device device) {
  return device.kind == DeviceKind::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

Device device_from_name(const std::string& name) {
  if (name == "cpu") return {};
  throw RunError(ExitCode::unavailable,
                 fmt::format("device '{}' is not available: this build has the device 'cpu'", name));
}

Allocator& allocator(Device device) {
  // Never destroyed: tensors with static lifetime may release their memory after main.
  static auto* host = new CachingHostAllocator;
  if (device.kind != DeviceKind::cpu)
    throw RunError(ExitCode::unavailable,
                   fmt::format("device '{}' is not available in this build", device_name(device)));
  return *host;
}

}  // namespace weir
