// The threads of one block, run as fibers: who runs, who waits for whom, and what is wrong when nobody can go on.
//
// A fiber runs threads that have not started yet, one after the other; only a thread that has to wait is parked on its
// fiber, and another fiber goes on with the rest. So a kernel without barriers is a plain loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/emulator/fiber.h"
#include "cuda/emulator/language.h"
#include "cuda/emulator/race_checker.h"
#include "cuda/emulator/shared_memory.h"

namespace weir::emulator {

// What a kernel did wrong: an operation that the hardware does not define, or would hang in.
class KernelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The order in which threads of a block, and blocks of a grid, get their turn. A result that depends on it is a race:
// between two barriers, natural and reverse order show every pair of threads both ways round. Random order is a
// function of its seed.
enum class Order { natural, reverse, random };

struct Schedule {
  Order order = Order::natural;
  unsigned seed = 0;
  unsigned grouping = 0;  // which warps the race checker tells apart (race_checker.h)
  bool operator==(const Schedule&) const = default;
};

// Where device code called. Compared by line, not by return address, which optimisers duplicate.
struct Place {
  const char* file = "";
  int line = 0;
  bool operator==(const Place& other) const {
    return line == other.line && (file == other.file || std::string_view(file) == other.file);
  }
};

struct LaunchShape {
  dim3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
};

// A thread waits in one of these, or has not started, or can run, or has ended.
struct Waiting {
  const char* op = nullptr;  // "__syncthreads"; null where the thread does not wait
  Place place{};
  unsigned mask = 0;  // of a warp operation
  // Do both wait in the same operation at the same line?
  bool meets(const Waiting& other) const {
    const bool same = op == other.op && place.line == other.place.line && place.file == other.place.file;
    return same || (std::string_view(op) == other.op && place == other.place);
  }
};

// Memory is never weakly ordered here. To the race checker, who passes a fence comes after all who passed one before.
void thread_fence();

class Block {
 public:
  // Runs the block `index` of the grid; `kernel(argument)` is the body of every thread.
  void run(const LaunchShape& shape, uint3 index, Schedule schedule, void (*kernel)(const void*), const void* argument);

  // The block that this thread of the operating system runs. Throws KernelError outside of kernels.
  static Block& current() {
    if (running_block == nullptr) refuse_outside();
    return *running_block;
  }

  // All threads of the block meet; returns in how many `predicate` was true. Called by __syncthreads and relatives.
  int barrier(const char* op, Place place, bool predicate);
  // The lanes in `mask` meet; the last to come runs finish(payloads, mask) with what each lane brought.
  using Finish = void (*)(void* const* payloads, unsigned mask);
  void warp_collective(unsigned mask, const char* op, Place place, void* payload, Finish finish);

  SharedMemory& shared_memory() { return shared_; }
  CopyQueue& copies() { return threads_[running_].copies; }
  [[noreturn]] void fail(const std::string& what, Place place) const;

 private:
  struct Thread {
    uint3 index{};
    Fiber* fiber = nullptr;  // while parked
    Waiting waiting;
    CopyQueue copies;
  };
  // Operations of a warp with one mask, one after the other. The race checker gets another meeting each time: with one,
  // a lane that is late to leave would seem to come after lanes that are already in the next operation. Two suffice,
  // for nobody comes to the next but one before all have left.
  struct Collective {
    unsigned mask = 0, arrived = 0;
    const Waiting* first = nullptr;  // of the lanes that wait
    Meeting meetings[2];
    unsigned generation = 0;
  };
  struct Warp {
    Collective collectives[32];  // as many as lanes: a lane waits in one
    unsigned used = 0;
    void* payloads[32];
  };

  [[noreturn]] static void refuse_outside();
  void prepare(const LaunchShape& shape, Schedule schedule);
  void number_threads();
  void name_threads(unsigned grouping);
  void order_threads(Schedule schedule);
  void recover();
  static void fiber_main(void* block);
  void run_threads();
  void run_thread(unsigned id);
  void become(unsigned id);
  Waiting& will_wait(const char* op, Place place, unsigned mask);
  void wait();                // parks the running thread until somebody makes it runnable
  void leave(Fiber& from);    // switches to whatever can run next
  void give_up(Fiber& from);  // ends the block
  Fiber& fresh_fiber();
  Collective& collective(Warp& warp, unsigned mask);
  std::string deadlock() const;

  static constinit thread_local Block* running_block WEIR_FAST_THREAD_LOCAL;

  LaunchShape shape_{{0}, {0}};
  Schedule schedule_;
  uint3 block_index_{};
  void (*kernel_)(const void*) = nullptr;
  const void* argument_ = nullptr;

  std::vector<Thread> threads_;
  std::vector<unsigned> turns_;       // ids in the order in which they start and leave a barrier
  std::vector<unsigned> warp_turns_;  // the same within each warp
  unsigned next_turn_ = 0;            // of those who start, or leave a barrier
  bool all_started_ = false;
  static constexpr unsigned kRing = 1024;  // the most threads of a block
  unsigned runnable_[kRing];               // ring of those who leave a warp operation, each thread at most once
  unsigned first_runnable_ = 0, end_runnable_ = 0;
  unsigned running_ = 0, ended_ = 0, count_ = 0;  // of threads

  unsigned at_barrier_ = 0;
  int barrier_sum_ = 0, barrier_count_ = 0;
  const Waiting* first_at_barrier_ = nullptr;
  bool divergent_ = false;
  unsigned barrier_generation_ = 0;
  Meeting barrier_meetings_[2], start_, end_;
  std::vector<Warp> warps_;

  Fiber launcher_;
  CheckedThreads checked_;
  std::vector<std::unique_ptr<Fiber>> fibers_;  // under the race checker fiber i is for thread i alone
  std::vector<Fiber*> idle_;
  Fiber* running_fiber_ = nullptr;
  std::exception_ptr error_;
  SharedMemory shared_;
};

}  // namespace weir::emulator
