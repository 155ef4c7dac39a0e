#include "cuda/emulator/shared_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(begin, bytes) (static_cast<void>(begin), static_cast<void>(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(begin, bytes) (static_cast<void>(begin), static_cast<void>(bytes))
#endif

namespace weir::emulator {
namespace {

constexpr std::size_t kSlabBytes = SharedMemory::kLimitBytes + 64 * SharedMemory::kGuardBytes;
constexpr std::byte kPoison{0xFF}, kGuard{0xFB};

std::byte* aligned(std::byte* place, std::size_t alignment) {
  const auto address = reinterpret_cast<std::uintptr_t>(place);
  return place + (alignment - address % alignment) % alignment;
}

}  // namespace

SharedMemory::SharedMemory() : slab_(new std::byte[kSlabBytes]) {
  std::memset(slab_.get(), static_cast<int>(kGuard), kSlabBytes);
  next_ = slab_.get();
  reset();
}

SharedMemory::~SharedMemory() { ASAN_UNPOISON_MEMORY_REGION(slab_.get(), kSlabBytes); }

void SharedMemory::reset() {
  ASAN_UNPOISON_MEMORY_REGION(slab_.get(), kSlabBytes);
  std::memset(slab_.get(), static_cast<int>(kGuard), static_cast<std::size_t>(next_ - slab_.get()));
  ASAN_POISON_MEMORY_REGION(slab_.get(), kSlabBytes);
  pieces_.clear();
  next_ = slab_.get() + kGuardBytes;
  used_ = 0;
}

void* SharedMemory::piece(const void* key, std::size_t bytes, std::size_t alignment) {
  for (const Piece& p : pieces_)
    if (p.key == key) return p.begin;
  if (used_ + bytes > kLimitBytes || pieces_.size() >= 32) return nullptr;
  std::byte* const begin = aligned(next_, std::max<std::size_t>(alignment, 16));
  ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
  std::memset(begin, static_cast<int>(kPoison), bytes);
  pieces_.push_back({key, begin, bytes});
  next_ = begin + bytes + kGuardBytes;
  used_ += bytes;
  return begin;
}

bool SharedMemory::contains(const void* from, std::size_t bytes) const {
  const auto* const first = static_cast<const std::byte*>(from);
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [&](const Piece& p) { return first >= p.begin && first + bytes <= p.begin + p.bytes; });
}

std::string SharedMemory::stray_write() const {
#if !defined(__SANITIZE_ADDRESS__)  // which has spoken already
  for (const Piece& p : pieces_) {
    const auto changed = [](const std::byte* first, std::size_t bytes) {
      return std::any_of(first, first + bytes, [](std::byte b) { return b != kGuard; });
    };
    const std::string piece = "a shared-memory object of " + std::to_string(p.bytes) + " bytes";
    if (changed(p.begin + p.bytes, kGuardBytes)) return "something was written behind the end of " + piece;
    if (changed(p.begin - 16, 16)) return "something was written before the start of " + piece;
  }
#endif
  return "";
}

void CopyQueue::add(void* to, const void* from, std::size_t bytes, std::size_t zeros) {
  open_.push_back({to, from, bytes, zeros});
}

void CopyQueue::commit() {
  committed_.push_back(std::move(open_));
  open_.clear();
}

void CopyQueue::wait(std::size_t groups_left) {
  for (; committed_.size() > groups_left; committed_.pop_front())
    for (const Copy& c : committed_.front()) {
      if (c.bytes > 0) std::memcpy(c.to, c.from, c.bytes);
      if (c.zeros > 0) std::memset(static_cast<std::byte*>(c.to) + c.bytes, 0, c.zeros);
    }
}

void CopyQueue::clear() {
  open_.clear();
  committed_.clear();
}

}  // namespace weir::emulator
