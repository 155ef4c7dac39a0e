// A fiber: a stack of its own and the place where it goes on. The threads of a block are fibers of one thread of the
// operating system, so they never run at the same time and switching takes nanoseconds.
#pragma once

#include <cstddef>

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
  // Leaves `from`, the fiber that runs, for `to`. Returns when somebody switches back to `from`.
  static void switch_between(Fiber& from, Fiber& to);

 private:
  friend void fiber_started(Fiber* from, Fiber* self);

  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  std::byte* mapping_ = nullptr;  // guard page, then the stack
  std::size_t top_offset_ = 0;
  void* stack_pointer_ = nullptr;
  void* sanitizer_stack_ = nullptr;  // AddressSanitizer's record of this fiber's fake stack
  const void* stack_bottom_ = nullptr;
  std::size_t stack_bytes_ = 0;
};

}  // namespace weir::emulator
