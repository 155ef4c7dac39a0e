#include "core/caching_allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace weir {
namespace {

constexpr std::size_t kNamedBlocks = 10;  // in a message

double mebibytes(std::size_t bytes) { return static_cast<double>(bytes) / 1048576.0; }

}  // namespace

std::size_t size_class(std::size_t bytes) {
  if (bytes <= 256) return 256;
  const std::size_t step = std::bit_floor(bytes) / 4;
  return (bytes + step - 1) / step * step;
}

bool exact_memory_wanted() {
  const char* const asked = std::getenv("WEIR_EXACT_MEMORY");
  return asked != nullptr && std::string_view(asked) == "1";
}

void* CachingAllocator::allocate(std::size_t bytes) {
  const std::size_t size = block_size(bytes);
  std::lock_guard lock(mutex_);
  std::size_t& blocks_in_use = in_use_[size];  // first, for it may throw
  void* block = open_pool_ == 0 ? nullptr : take(pools_[open_pool_], size);
  if (block == nullptr) block = take(kept_, size);
  if (block == nullptr) block = from_system(size, bytes);
  try {
    if (open_pool_ != 0) pool_of_[block] = open_pool_;
  } catch (...) {
    give_back(block, size);
    throw;
  }
  ++blocks_in_use;
  statistics_.in_use_bytes += size;
  statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.in_use_bytes);
  return block;
}

void CachingAllocator::release(void* block, std::size_t bytes) noexcept {
  if (block == nullptr) return;
  const std::size_t size = block_size(bytes);
  std::lock_guard lock(mutex_);
  statistics_.in_use_bytes -= size;
  --in_use_.find(size)->second;
  if (open_pool_ == 0 && !pool_of_.contains(block))
    keep(kept_, block, size);
  else
    keep_in_pool(block, size);
  if (system_.exact && open_pool_ == 0) drop_kept();  // while work is recorded, memory cannot go back
}

// What belongs to a pool stays there; an ordinary block joins the open one, whose work may have used it. Where there is
// no memory to note it, the block is lost, for a recording may use it.
void CachingAllocator::keep_in_pool(void* block, std::size_t size) noexcept {
  try {
    const PoolId pool = pool_of_.try_emplace(block, open_pool_).first->second;
    pools_[pool][size].push_back(block);
  } catch (const std::bad_alloc&) {
  }
}

void CachingAllocator::keep(Kept& kept, void* block, std::size_t size) noexcept {
  try {
    kept[size].push_back(block);
  } catch (const std::bad_alloc&) {
    give_back(block, size);
  }
}

void CachingAllocator::give_back(void* block, std::size_t size) noexcept {
  system_.release(block, size);
  statistics_.reserved_bytes -= size;
}

void CachingAllocator::begin_pool() {
  std::lock_guard lock(mutex_);
  if (open_pool_ != 0) throw InternalError("two pools of memory open at once");
  open_pool_ = ++last_pool_;
  pools_[open_pool_];
}

CachingAllocator::PoolId CachingAllocator::end_pool() {
  std::lock_guard lock(mutex_);
  return std::exchange(open_pool_, 0);
}

void CachingAllocator::free_pool(PoolId pool) noexcept {
  std::lock_guard lock(mutex_);
  std::erase_if(pool_of_, [pool](const auto& entry) { return entry.second == pool; });
  const auto found = pools_.find(pool);
  if (found == pools_.end()) return;
  for (auto& [size, blocks] : found->second)
    for (void* block : blocks) keep(kept_, block, size);
  pools_.erase(found);
  if (system_.exact && open_pool_ == 0) drop_kept();
}

std::size_t CachingAllocator::block_size(std::size_t asked) const {
  return system_.exact ? std::max<std::size_t>(asked, 1) : size_class(asked);
}

void* CachingAllocator::take(Kept& kept, std::size_t size) {
  std::vector<void*>& blocks = kept[size];
  if (blocks.empty()) return nullptr;
  void* const block = blocks.back();
  blocks.pop_back();
  return block;
}

void CachingAllocator::trim() noexcept {
  std::lock_guard lock(mutex_);
  drop_kept();
}

MemoryStatistics CachingAllocator::statistics() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

std::size_t CachingAllocator::limit_bytes() const {
  std::lock_guard lock(mutex_);
  const auto memory = device_memory();
  return memory ? std::min(system_.limit_bytes, statistics_.reserved_bytes + memory->free_bytes) : system_.limit_bytes;
}

std::size_t CachingAllocator::bytes_of_others() const {
  std::lock_guard lock(mutex_);
  return bytes_of_others(device_memory().value_or(DeviceMemory{}));
}

std::optional<DeviceMemory> CachingAllocator::device_memory() const {
  return system_.now ? system_.now() : std::nullopt;
}

std::size_t CachingAllocator::bytes_of_others(const DeviceMemory& memory) const {
  const std::size_t known = memory.free_bytes + statistics_.reserved_bytes;
  const std::size_t others = memory.total_bytes - std::min(memory.total_bytes, known);
  return others >= memory.total_bytes / 8 ? others : 0;
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
  if (block == nullptr) throw RunError(ExitCode::out_of_memory, refusal(size, asked));
  statistics_.reserved_bytes += size;
  ++statistics_.system_allocations;
  return block;
}

std::string CachingAllocator::refusal(std::size_t size, std::size_t asked) const {
  const bool ours = statistics_.reserved_bytes + size > system_.limit_bytes;
  std::string text = fmt::format("out of memory on {}: {:.1f} MiB asked for{}, {:.1f} MiB in use, limit {:.1f} MiB",
                                 system_.device, mebibytes(asked), ours ? "" : " and refused by the system",
                                 mebibytes(statistics_.in_use_bytes), mebibytes(system_.limit_bytes));
  if (const auto memory = device_memory()) {
    text += fmt::format(", {:.1f} MiB free on the device", mebibytes(memory->free_bytes));
    if (const std::size_t others = bytes_of_others(*memory); others > 0)
      text += fmt::format("; other programs hold {:.1f} MiB (nvidia-smi names them)", mebibytes(others));
  }
  std::size_t left = kNamedBlocks;
  for (const auto& [bytes, count] : in_use_) {
    const std::size_t named = std::min(left, count);
    if (named == 0) continue;
    text +=
        fmt::format("{}{} x {:.1f} MiB", left == kNamedBlocks ? "; largest tensors: " : ", ", named, mebibytes(bytes));
    left -= named;
  }
  return text;
}

void CachingAllocator::drop_kept() noexcept {
  for (auto& [size, blocks] : kept_) {
    for (void* block : blocks) give_back(block, size);
  }
  kept_.clear();
}

std::size_t bytes_of_others(Device device) {
  const auto* const memory = dynamic_cast<const CachingAllocator*>(&allocator(device));
  return memory == nullptr ? 0 : memory->bytes_of_others();
}

}  // namespace weir
