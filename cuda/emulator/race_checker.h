// ThreadSanitizer as a race checker for kernels: a CUDA thread is a thread to it, and barriers and warp operations
// order them as they do on a GPU.
//
// The sanitizer must see the kernels but not the emulator, whose own bookkeeping all threads share; so the emulator is
// a library of its own, compiled without it, and finds the sanitizer's functions at link time or does without.
// Such code must not call memcpy, memset or the like on shared data from a kernel's thread: those are watched always.
#pragma once

#include <cstddef>

extern "C" {
[[gnu::weak]] void* __tsan_create_fiber(unsigned flags);
[[gnu::weak]] void __tsan_destroy_fiber(void* fiber);
[[gnu::weak]] void* __tsan_get_current_fiber();
[[gnu::weak]] void __tsan_switch_to_fiber(void* fiber, unsigned flags);
[[gnu::weak]] void __tsan_acquire(void* place);
[[gnu::weak]] void __tsan_release(void* place);
[[gnu::weak]] void __tsan_read_range(void* place, unsigned long bytes);
[[gnu::weak]] void __tsan_write_range(void* place, unsigned long bytes);
}

namespace weir::emulator {

inline bool races_are_checked() { return __tsan_create_fiber != nullptr; }

// A place where threads meet: who acquires comes after all who have released.
class Meeting {
 public:
  void release() {
    if (races_are_checked()) __tsan_release(&place_);
  }
  void acquire() {
    if (races_are_checked()) __tsan_acquire(&place_);
  }

 private:
  unsigned long place_ = 0;
};

// The checker tells 256 threads apart, and among more it finds next to nothing. So the warps of a block share the
// contexts of kWarpContexts warps, lane by lane; 2 workers and what else runs then stay below the limit. Threads that
// share one seem to run one after the other, so what they do to each other is not seen: another grouping must part
// them.
class CheckedThreads {
 public:
  static constexpr unsigned kWarpContexts = 3;
  // Two warps of 3^n share a context in all of the groupings 0 .. n - 1 only if they are one: these are the digits of
  // the warp's number.
  void* context(unsigned thread, unsigned grouping) const {
    unsigned group = thread / 32;
    for (; grouping > 0; --grouping) group /= kWarpContexts;
    return contexts_[group % kWarpContexts * 32 + thread % 32];
  }
  // New ones, that know of nothing that happened before.
  void make() {
    forget();
    for (void*& context : contexts_) context = __tsan_create_fiber(0);
  }
  bool are_made() const { return contexts_[0] != nullptr; }

  CheckedThreads() = default;
  ~CheckedThreads() { forget(); }
  CheckedThreads(const CheckedThreads&) = delete;
  CheckedThreads& operator=(const CheckedThreads&) = delete;

 private:
  void forget() {
    for (void*& context : contexts_)
      if (context != nullptr) __tsan_destroy_fiber(context);
  }
  void* contexts_[kWarpContexts * 32] = {};
};

// Tells of reads and writes that the emulator makes for a kernel.
inline void announce_read(const void* place, std::size_t bytes) {
  if (races_are_checked()) __tsan_read_range(const_cast<void*>(place), bytes);
}
inline void announce_write(void* place, std::size_t bytes) {
  if (races_are_checked()) __tsan_write_range(place, bytes);
}

}  // namespace weir::emulator
