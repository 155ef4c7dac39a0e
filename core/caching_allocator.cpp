#include "core/caching_allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace weir {
namespace {

// Rounds up to one of four sizes per power of two: at most 25% slack, and few enough sizes for blocks to be reused.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 256) return 256;
  const std::size_t step = std::bit_floor(bytes) / 4;
  return (bytes + step - 1) / step * step;
}

double mebibytes(std::size_t bytes) { return static_cast<double>(bytes) / 1048576.0; }

}  // namespace

void* CachingAllocator::allocate(std::size_t bytes) {
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

void CachingAllocator::release(void* block, std::size_t bytes) noexcept {
  if (block == nullptr) return;
  const std::size_t size = size_class(bytes);
  std::lock_guard lock(mutex_);
  statistics_.in_use_bytes -= size;
  try {
    kept_[size].push_back(block);
  } catch (const std::bad_alloc&) {
    system_.release(block, size);
    statistics_.reserved_bytes -= size;
  }
}

void CachingAllocator::trim() noexcept {
  std::lock_guard lock(mutex_);
  drop_kept();
}

MemoryStatistics CachingAllocator::statistics() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

void CachingAllocator::reset_peak() noexcept {
  std::lock_guard lock(mutex_);
  statistics_.peak_bytes = statistics_.in_use_bytes;
}

void* CachingAllocator::from_system(std::size_t size, std::size_t asked) {
  const auto ask = [&] {
    return statistics_.reserved_bytes + size > system_.limit_bytes ? nullptr : system_.allocate(size);
  };
  void* block = ask();
  if (block == nullptr) {
    drop_kept();
    block = ask();
  }
  if (block == nullptr)
    throw RunError(ExitCode::out_of_memory,
                   fmt::format("out of memory on {}: {:.1f} MiB asked for, {:.1f} MiB in use, limit {:.1f} MiB; lower "
                               "train.batch_size or model.segment, or raise train.accumulate",
                               system_.device, mebibytes(asked), mebibytes(statistics_.in_use_bytes),
                               mebibytes(system_.limit_bytes)));
  statistics_.reserved_bytes += size;
  ++statistics_.system_allocations;
  return block;
}

void CachingAllocator::drop_kept() noexcept {
  for (auto& [size, blocks] : kept_) {
    for (void* block : blocks) system_.release(block, size);
    statistics_.reserved_bytes -= size * blocks.size();
    blocks.clear();
  }
}

}  // namespace weir
