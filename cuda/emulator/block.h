// The threads of one block, run as fibers: who runs, who waits for whom, and what is wrong when nobody can go on.
//
// A fiber runs threads that have not started yet, one after the other; only a thread that has to wait is parked on its
// fiber, and another fiber goes on with the rest. So a kernel without barriers is a plain loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/emulator/fiber.h"
#include "cuda/emulator/language.h"
#include "cuda/emulator/shared_memory.h"

namespace weir::emulator {

// What a kernel did wrong: an operation that the hardware does not define, or would hang in.
class KernelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The order in which threads of a block, and blocks of a grid, get their turn. A result that depends on it is a race:
// between two barriers, natural and reverse order show every pair of threads both ways round.
enum class Order { natural, reverse };

// Where device code called. Compared by line, not by return address, which optimisers duplicate.
struct Place {
  std::string_view file;
  int line = 0;
  bool operator==(const Place&) const = default;
};

struct LaunchShape {
  dim3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
};

// A thread waits in one of these, or has not started, or can run, or has ended.
struct Waiting {
  std::string_view op;  // "__syncthreads"; empty where the thread does not wait
  Place place{};
  unsigned mask = 0;  // of a warp operation
};

class Block {
 public:
  // `kernel(argument)` is the body that every thread runs.
  void run(const LaunchShape& shape, uint3 index, Order order, void (*kernel)(const void*), const void* argument);

  // The block that this thread of the operating system runs. Throws KernelError outside of kernels.
  static Block& current();

  // All threads of the block meet; returns in how many `predicate` was true. Called by __syncthreads and relatives.
  int barrier(std::string_view op, Place place, bool predicate);
  // The lanes in `mask` meet; the last to come runs finish(payloads, mask) with what each lane brought.
  using Finish = void (*)(void* const* payloads, unsigned mask);
  void warp_collective(unsigned mask, std::string_view op, Place place, void* payload, Finish finish);

  SharedMemory& shared_memory() { return shared_; }
  void* dynamic_shared();  // empty where the launch asked for none
  CopyQueue& copies() { return threads_[running_].copies; }
  [[noreturn]] void fail(const std::string& what, Place place) const;

 private:
  struct Thread {
    uint3 index{};
    bool started = false, ended = false;
    Waiting waiting;
    int barrier_count = 0;
    Fiber* fiber = nullptr;  // while parked
    CopyQueue copies;
  };
  struct Collective {
    unsigned mask, arrived;
    std::string_view op;
    Place place;
    void* payloads[32];
  };

  void prepare(const LaunchShape& shape, uint3 index, Order order);
  static void fiber_main(void* block);
  void run_threads();
  void run_thread(unsigned id);
  void become(unsigned id);
  void wait();                // parks the running thread until somebody makes it runnable
  void leave(Fiber& from);    // switches to whatever can run next
  void give_up(Fiber& from);  // ends the block with error_
  Fiber& fresh_fiber();
  void release(unsigned id);
  std::string deadlock() const;
  unsigned lane() const { return running_ % 32; }

  LaunchShape shape_;
  uint3 block_index_{};
  void (*kernel_)(const void*) = nullptr;
  const void* argument_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<unsigned> turns_;  // ids in the order in which they start
  std::size_t next_turn_ = 0;
  std::deque<unsigned> runnable_;
  std::vector<std::vector<Collective>> pending_;  // per warp
  unsigned running_ = 0, ended_ = 0, at_barrier_ = 0;
  int barrier_sum_ = 0;
  Fiber launcher_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* running_fiber_ = nullptr;
  std::exception_ptr error_;
  SharedMemory shared_;
};

}  // namespace weir::emulator
