#include "cuda/emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "the emulator switches fibers with x86-64 instructions; port weir_switch_stack to this processor"
#endif

// Saves what a called function must keep, swaps stacks, restores. void weir_switch_stack(void** save, void* to).
asm(R"(
.text
.globl weir_switch_stack
.type weir_switch_stack, @function
weir_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size weir_switch_stack, .-weir_switch_stack
.section .note.GNU-stack,"",@progbits
.text
)");
extern "C" void weir_switch_stack(void** save, void* to);

namespace weir::emulator {
namespace {

constinit thread_local Fiber* came_from = nullptr;
constinit thread_local Fiber* going_to = nullptr;

std::size_t page_bytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

// The first thing on a fresh stack.
void fiber_started(Fiber* from, Fiber* self) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &from->stack_bottom_, &from->stack_bytes_);
#else
  static_cast<void>(from);
#endif
  self->entry_(self->argument_);
}

namespace {

void on_fresh_stack() {
  fiber_started(came_from, going_to);
  __builtin_trap();
}

}  // namespace

Fiber::Fiber(void (*entry)(void*), void* argument, std::size_t number) : entry_(entry), argument_(argument) {
  const std::size_t guard = page_bytes();
  void* const memory = mmap(nullptr, guard + kStackBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<std::byte*>(memory);
  mprotect(mapping_, guard, PROT_NONE);
  top_offset_ = number % 16 * 256;
  stack_bottom_ = mapping_ + guard;
  stack_bytes_ = kStackBytes;
  restart();
}

Fiber::~Fiber() {
  if (mapping_ != nullptr) munmap(mapping_, page_bytes() + kStackBytes);
}

void Fiber::restart() {
  // From the top: a word that stands for a return address, so that the entry finds its stack aligned as after a call;
  // the entry; six saved registers.
  auto** place = reinterpret_cast<void**>(mapping_ + page_bytes() + kStackBytes - 64 - top_offset_);
  *--place = nullptr;
  *--place = reinterpret_cast<void*>(on_fresh_stack);
  for (int i = 0; i < 6; ++i) *--place = nullptr;
  stack_pointer_ = place;
  sanitizer_stack_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)  // frames that were never left
  __asan_unpoison_memory_region(stack_bottom_, stack_bytes_);
#endif
}

void Fiber::switch_between(Fiber& from, Fiber& to) {
  came_from = &from;
  going_to = &to;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from.sanitizer_stack_, to.stack_bottom_, to.stack_bytes_);
#endif
  weir_switch_stack(&from.stack_pointer_, to.stack_pointer_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.sanitizer_stack_, &came_from->stack_bottom_, &came_from->stack_bytes_);
#endif
}

}  // namespace weir::emulator
