// A signal handler installed with SA_ONSTACK runs on its thread's alternate stack, where there is one. Threads that
// compute need one: oneDNN's AVX-512 products keep data below the stack pointer, where the kernel would otherwise write
// the handler's frame. Threads that Weir starts have one; docs/embedding.md says what a program with handlers does for
// its own.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

namespace weir {

// The calling thread's alternate stack for as long as the object lives. A thread that has one keeps it; where memory is
// refused, the thread goes without.
class AlternateStack {
 public:
  AlternateStack() {
    stack_t present{};
    if (::sigaltstack(nullptr, &present) != 0 || (present.ss_flags & SS_DISABLE) == 0) return;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    // The lowest page stays out of bounds, so that a handler that needs more faults instead of overwriting memory.
    void* const memory = ::mmap(nullptr, page + kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    memory_ = memory;
    mapped_ = page + kBytes;
    std::byte* const begin = static_cast<std::byte*>(memory) + page;
    stack_t mine{};
    mine.ss_sp = begin;
    mine.ss_size = kBytes;
    if (::mprotect(begin, kBytes, PROT_READ | PROT_WRITE) != 0 || ::sigaltstack(&mine, nullptr) != 0) release();
  }
  ~AlternateStack() {
    if (memory_ == nullptr) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
    release();
  }
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;

 private:
  // The frame alone takes 3 kB with AVX-512 and 11 kB with AMX.
  static constexpr std::size_t kBytes = std::size_t{1} << 17;

  void release() {
    ::munmap(memory_, mapped_);
    memory_ = nullptr;
  }

  void* memory_ = nullptr;
  std::size_t mapped_ = 0;
};

}  // namespace weir
