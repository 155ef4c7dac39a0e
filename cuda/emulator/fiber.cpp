#include "cuda/emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#if defined(WEIR_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "the emulator switches fibers with x86-64 instructions; port weir_switch_stack to this processor"
#endif

// weir_first_switch is where a fresh fiber begins: its first saved register holds the fiber.
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
.type weir_first_switch, @function
weir_first_switch:
  movq %r15, %rdi
  call *%r14
  ud2
.size weir_first_switch, .-weir_first_switch
.section .note.GNU-stack,"",@progbits
.text
)");
extern "C" void weir_first_switch() __attribute__((visibility("hidden")));

namespace weir::emulator {
namespace {

#if defined(WEIR_ADDRESS_SANITIZER)
constinit thread_local Fiber* came_from = nullptr;
#endif

std::size_t page_bytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

// The first thing on a fresh stack.
void fiber_started(Fiber* self) {
#if defined(WEIR_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(nullptr, &came_from->stack_bottom_, &came_from->stack_bytes_);
#endif
  self->entry_(self->argument_);
}

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
  if (mapping_ == nullptr) return;
  munmap(mapping_, page_bytes() + kStackBytes);
}

void Fiber::restart() {
  // From the top: the entry, with the stack aligned as before a call; rbp, rbx, r12, r13; r14 and r15, which it takes.
  auto** place = reinterpret_cast<void**>(mapping_ + page_bytes() + kStackBytes - 64 - top_offset_);
  *--place = reinterpret_cast<void*>(weir_first_switch);
  for (int i = 0; i < 4; ++i) *--place = nullptr;
  *--place = reinterpret_cast<void*>(fiber_started);
  *--place = this;
  stack_pointer_ = place;
  sanitizer_stack_ = nullptr;
#if defined(WEIR_ADDRESS_SANITIZER)  // frames that were never left
  __asan_unpoison_memory_region(stack_bottom_, stack_bytes_);
#endif
}

void Fiber::adopt_caller() {
  if (races_are_checked()) checked_ = __tsan_get_current_fiber();
}

#if defined(WEIR_ADDRESS_SANITIZER)
void Fiber::switch_and_tell(Fiber& from, Fiber& to) {
  came_from = &from;
  __sanitizer_start_switch_fiber(&from.sanitizer_stack_, to.stack_bottom_, to.stack_bytes_);
  weir_switch_stack(&from.stack_pointer_, to.stack_pointer_);
  __sanitizer_finish_switch_fiber(from.sanitizer_stack_, &came_from->stack_bottom_, &came_from->stack_bytes_);
}
#endif

}  // namespace weir::emulator
