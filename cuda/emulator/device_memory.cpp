#include "cuda/emulator/device_memory.h"

#include <sys/mman.h>

#include <map>
#include <mutex>
#include <vector>

namespace weir::emulator {
namespace {

constexpr std::size_t kRangeBytes = std::size_t{1} << 38;  // addresses, not memory
constexpr std::size_t kPageBytes = 4096;

class Range {
 public:
  Range() {
    void* const place =
        mmap(nullptr, kRangeBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) return;
    next_ = static_cast<std::byte*>(place);
    end_ = next_ + kRangeBytes;
    key_ = pkey_alloc(0, PKEY_DISABLE_ACCESS);
    if (key_ >= 0 && pkey_mprotect(place, kRangeBytes, PROT_READ | PROT_WRITE, key_) != 0) key_ = -1;
  }

  int key() const { return key_; }

  void* allocate(std::size_t bytes) {
    const std::size_t size = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
    std::lock_guard lock(mutex_);
    if (auto& free = free_[size]; !free.empty()) {
      void* const block = free.back();
      free.pop_back();
      return block;
    }
    if (next_ == nullptr || size > static_cast<std::size_t>(end_ - next_)) return nullptr;
    void* const block = next_;
    next_ += size;
    return block;
  }

  void release(void* block, std::size_t bytes) {
    const std::size_t size = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
    madvise(block, size, MADV_DONTNEED);
    std::lock_guard lock(mutex_);
    free_[size].push_back(block);
  }

 private:
  std::byte *next_ = nullptr, *end_ = nullptr;
  int key_ = -1;
  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
};

Range& range() {
  static auto* const the_range = new Range;
  return *the_range;
}

thread_local int accesses = 0;  // DeviceAccess objects alive on this thread

}  // namespace

DeviceAccess::DeviceAccess() {
  if (accesses++ == 0 && is_fenced()) pkey_set(range().key(), 0);
}

DeviceAccess::~DeviceAccess() {
  if (--accesses == 0 && is_fenced()) pkey_set(range().key(), PKEY_DISABLE_ACCESS);
}

void* allocate_device_memory(std::size_t bytes) { return range().allocate(bytes); }
void release_device_memory(void* block, std::size_t bytes) noexcept { range().release(block, bytes); }
bool is_fenced() { return range().key() >= 0; }

}  // namespace weir::emulator
