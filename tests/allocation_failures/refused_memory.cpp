#include "refused_memory.h"

#include <dlfcn.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "cuda/emulator/device_memory.h"

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* block);
}

namespace weir {
namespace {

struct Requests {
  std::atomic<bool> watched{false};
  std::atomic<std::int64_t> left{0};  // until one is refused
};
Requests requests[2];  // by MemoryKind
std::atomic<Refusal> wanted{Refusal::once};
std::atomic<bool> refused{false};
std::atomic<std::int64_t> live{0};

bool is_refused(MemoryKind kind) {
  Requests& r = requests[static_cast<int>(kind)];
  if (!r.watched) return false;
  const std::int64_t left = --r.left;
  if (left > 0 || (left < 0 && wanted == Refusal::once)) return false;
  refused = true;
  return true;
}

template <class Allocate>
void* allocate_host(Allocate&& allocate) {
  if (is_refused(MemoryKind::host)) {
    errno = ENOMEM;
    return nullptr;
  }
  void* const block = allocate();
  if (block != nullptr) ++live;
  return block;
}

}  // namespace

void refuse_memory(MemoryKind kind, std::int64_t request, Refusal refusal) {
  wanted = refusal;
  refused = false;
  requests[static_cast<int>(kind)].left = request;
  requests[static_cast<int>(kind)].watched = true;
}

bool stop_refusing() {
  for (Requests& r : requests) r.watched = false;
  return refused;
}

std::int64_t live_blocks() { return live; }

// In place of the library's.
void* emulator::allocate_device_memory(std::size_t bytes) {
  if (is_refused(MemoryKind::device)) return nullptr;
  static const auto original =
      reinterpret_cast<void* (*)(std::size_t)>(dlsym(RTLD_NEXT, "_ZN4weir8emulator22allocate_device_memoryEm"));
  return original(bytes);
}

}  // namespace weir

using weir::allocate_host;

extern "C" {

void* malloc(std::size_t size) {
  return allocate_host([=] { return __libc_malloc(size); });
}

void* calloc(std::size_t count, std::size_t size) {
  return allocate_host([=] { return __libc_calloc(count, size); });
}

void* realloc(void* block, std::size_t size) {
  if (block == nullptr) return malloc(size);
  if (size != 0 && weir::is_refused(weir::MemoryKind::host)) return nullptr;
  void* const moved = __libc_realloc(block, size);
  if (size == 0) --weir::live;
  return moved;
}

void* memalign(std::size_t alignment, std::size_t size) {
  return allocate_host([=] { return __libc_memalign(alignment, size); });
}

void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

int posix_memalign(void** block, std::size_t alignment, std::size_t size) {
  void* const found = memalign(alignment, size);
  if (found == nullptr) return ENOMEM;
  *block = found;
  return 0;
}

void free(void* block) {
  if (block != nullptr) --weir::live;
  __libc_free(block);
}

}  // extern "C"
