// A fiber: a stack of its own and the place where it goes on. The threads of a block are fibers of one thread of the
// operating system, so they never run at the same time and switching takes nanoseconds.
#pragma once

#include <cstddef>

#include "cuda/emulator/race_checker.h"

#if defined(__SANITIZE_ADDRESS__)
#define WEIR_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEIR_ADDRESS_SANITIZER 1
#endif
#endif

// Saves what a called function must keep, swaps stacks, restores.
extern "C" void weir_switch_stack(void** save, void* to);

namespace weir::emulator {

class Fiber {
 public:
  // 64 KiB of stack above a page that faults, so that an overflow ends at its cause.
  static constexpr std::size_t kStackBytes = 64 * 1024;

  Fiber() = default;  // the caller's own stack, once it switches away
  // `entry(argument)` runs at the first switch to this fiber and must never return. `number` staggers the stacks'
  // tops: at equal page offsets they would fight for the same cache sets.
  Fiber(void (*entry)(void*), void* argument, std::size_t number);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes the fiber start at its entry again at the next switch to it; what was on its stack is forgotten.
  void restart();
  // What the race checker takes the fiber for from now on; fibers may share one.
  void be_checked_as(void* context) { checked_ = context; }
  // This fiber, made without an entry, stands for the thread of the operating system that runs.
  void adopt_caller();
  // Leaves `from`, the fiber that runs, for `to`. Returns when somebody switches back to `from`.
  static void switch_between(Fiber& from, Fiber& to) {
#if defined(WEIR_ADDRESS_SANITIZER)
    switch_and_tell(from, to);
#else
    constexpr unsigned without_order = 1;  // else a switch would hide races, for it would order the two
    if (races_are_checked() && from.checked_ != to.checked_) __tsan_switch_to_fiber(to.checked_, without_order);
    weir_switch_stack(&from.stack_pointer_, to.stack_pointer_);
#endif
  }

 private:
  friend void fiber_started(Fiber* self);
  static void switch_and_tell(Fiber& from, Fiber& to);

  void* stack_pointer_ = nullptr;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  std::byte* mapping_ = nullptr;  // guard page, then the stack
  std::size_t top_offset_ = 0;
  void* checked_ = nullptr;          // the race checker's record of this fiber, which its maker owns
  void* sanitizer_stack_ = nullptr;  // AddressSanitizer's record of this fiber's fake stack
  const void* stack_bottom_ = nullptr;
  std::size_t stack_bytes_ = 0;
};

}  // namespace weir::emulator
