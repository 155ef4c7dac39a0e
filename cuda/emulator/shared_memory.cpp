#include "cuda/emulator/shared_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cuda/emulator/fiber.h"

#if defined(WEIR_ADDRESS_SANITIZER)
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

// An instruction instead of memset, which the race checker would take for the writing of the thread that runs.
void fill(void* begin, std::byte value, std::size_t bytes) {
  asm volatile("rep stosb" : "+D"(begin), "+c"(bytes) : "a"(value) : "memory");
}

constexpr std::size_t kMostPieces = 32;

}  // namespace

SharedMemory::SharedMemory() : slab_(new std::byte[kSlabBytes]) {
  fill(slab_.get(), kGuard, kSlabBytes);
  pieces_.reserve(kMostPieces);
  next_ = slab_.get();
  reset(0);
}

SharedMemory::~SharedMemory() { ASAN_UNPOISON_MEMORY_REGION(slab_.get(), kSlabBytes); }

void SharedMemory::reset(std::size_t dynamic_bytes) {
  if (!pieces_.empty()) {
    ASAN_UNPOISON_MEMORY_REGION(slab_.get(), kSlabBytes);
    fill(slab_.get(), kGuard, static_cast<std::size_t>(next_ - slab_.get()));
    pieces_.clear();
  }
  ASAN_POISON_MEMORY_REGION(slab_.get(), kSlabBytes);
  next_ = slab_.get() + kGuardBytes;
  used_ = dynamic_bytes_ = dynamic_bytes;
}

void* SharedMemory::piece(const void* key, std::size_t bytes, std::size_t alignment) {
  for (const Piece& p : pieces_)
    if (p.key == key) return p.begin;
  if (used_ + bytes > kLimitBytes) return nullptr;
  used_ += bytes;
  return add_piece(key, bytes, std::max<std::size_t>(alignment, 16));
}

void* SharedMemory::dynamic_piece() {
  for (const Piece& p : pieces_)
    if (p.key == this) return p.begin;
  return dynamic_bytes_ == 0 ? nullptr : add_piece(this, dynamic_bytes_, 128);
}

void* SharedMemory::add_piece(const void* key, std::size_t bytes, std::size_t alignment) {
  if (pieces_.size() >= kMostPieces) return nullptr;
  std::byte* const begin = aligned(next_, alignment);
  ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
  fill(begin, kPoison, bytes);
  pieces_.push_back({key, begin, bytes});
  next_ = begin + bytes + kGuardBytes;
  return begin;
}

bool SharedMemory::contains(const void* from, std::size_t bytes) const {
  const auto* const first = static_cast<const std::byte*>(from);
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [&](const Piece& p) { return first >= p.begin && first + bytes <= p.begin + p.bytes; });
}

std::string SharedMemory::stray_write() const {
#if !defined(WEIR_ADDRESS_SANITIZER)  // which has spoken already
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
  copies_.push_back({to, from, bytes, zeros, open_group_});
}

void CopyQueue::wait(std::size_t groups_left) {
  for (; done_ < copies_.size() && copies_[done_].group + groups_left < open_group_; ++done_) {
    const Copy& c = copies_[done_];
    announce_read(c.from, c.bytes);
    announce_write(c.to, c.bytes + c.zeros);
    if (c.bytes > 0) std::memcpy(c.to, c.from, c.bytes);
    if (c.zeros > 0) std::memset(static_cast<std::byte*>(c.to) + c.bytes, 0, c.zeros);
  }
  if (empty()) clear();
}

void CopyQueue::clear() {
  copies_.clear();
  done_ = open_group_ = 0;
}

}  // namespace weir::emulator
