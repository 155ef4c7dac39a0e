// The thread pool behind parallel_for. The caller works too, and waits only for workers that have taken part: on a busy
// machine a worker that is not scheduled in time costs nothing but its help. Idle workers spin for a moment, since the
// next loop usually follows at once, and then sleep. Nothing depends on how many workers there are.
#include "core/parallel.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "core/alternate_stack.h"
#include "core/error.h"

namespace weir {
namespace {

constexpr auto kSpin = std::chrono::microseconds(50);

// A build that cuts small loops as well looks for races between their chunks, so every loop has a helper there.
constexpr bool kAlwaysHelped = kChunkOperations < 32768;

thread_local bool inside_loop = false;

struct Loop {
  std::int64_t count, grain, chunks;
  const std::function<void(std::int64_t, std::int64_t)>& body;
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure = nullptr;

  void work() {
    inside_loop = true;
    for (std::int64_t chunk; (chunk = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) {
      if (failed.load(std::memory_order_relaxed)) continue;
      try {
        body(chunk * grain, std::min(count, (chunk + 1) * grain));
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
      if constexpr (kAlwaysHelped) std::this_thread::yield();
    }
    inside_loop = false;
  }
};

// Waits until `ready` holds: spinning first, then asleep on `condition`.
template <class Ready>
void wait_for(std::unique_lock<std::mutex>& lock, std::condition_variable& condition, Ready&& ready) {
  lock.unlock();
  for (const auto start = std::chrono::steady_clock::now(); std::chrono::steady_clock::now() - start < kSpin;) {
    if (ready()) break;
    std::this_thread::yield();
  }
  lock.lock();
  condition.wait(lock, ready);
}

class Pool {
 public:
  explicit Pool(int threads) : asked_(threads) {
    workers_.reserve(static_cast<std::size_t>(threads - 1));
    try {
      while (granted() < threads) workers_.emplace_back([this] { serve(); });
    } catch (const std::system_error&) {  // a limit of threads, or no memory for a stack
    } catch (const std::bad_alloc&) {
    }
  }

  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  int asked() const { return asked_; }
  int granted() const { return 1 + static_cast<int>(workers_.size()); }

  void run(Loop& loop) {
    {
      const std::lock_guard lock(mutex_);
      loop_ = &loop;
      ++generation_;
    }
    wake_.notify_all();
    if constexpr (kAlwaysHelped)
      while (!workers_.empty() && loop.next.load(std::memory_order_relaxed) == 0) std::this_thread::yield();
    loop.work();
    std::unique_lock lock(mutex_);
    loop_ = nullptr;
    wait_for(lock, done_, [this] { return helpers_ == 0; });
  }

 private:
  void serve() {
    const AlternateStack for_handlers;
    // A thread's first allocation asks the system for much, half of which goes back at once: let that be over early.
    void* volatile first = std::malloc(1);
    std::free(first);
    std::uint64_t served = 0;  // the newest loop this worker has taken part in
    std::unique_lock lock(mutex_);
    for (;;) {
      wait_for(lock, wake_, [&] { return stopping_ || (loop_ != nullptr && generation_ != served); });
      if (stopping_) return;
      served = generation_;
      Loop& loop = *loop_.load();
      ++helpers_;
      lock.unlock();
      loop.work();
      lock.lock();
      if (--helpers_ == 0) done_.notify_one();
    }
  }

  const int asked_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  // Written under the mutex; the spinning waits read them without.
  std::atomic<Loop*> loop_{nullptr};
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> helpers_{0};
  std::atomic<bool> stopping_{false};
};

int usable_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// One loop at a time; a second thread's loop runs serially meanwhile.
std::mutex pool_mutex;
std::atomic<int> chosen_threads{0};  // 0: not chosen yet
std::unique_ptr<Pool> pool;
std::atomic<void (*)(int asked, int granted)> told_of_refusal{nullptr};

// The pool that fits the choice of threads; with pool_mutex held.
Pool& pool_of(int threads) {
  if (pool && pool->asked() == threads) return *pool;
  pool.reset();
  pool = std::make_unique<Pool>(threads);
  if (const auto told = told_of_refusal.load(); told != nullptr && pool->granted() < threads)
    told(threads, pool->granted());
  return *pool;
}

int default_threads() {
  static const int threads = usable_processors();
  return threads;
}

}  // namespace

int thread_count() {
  const int chosen = chosen_threads;
  return chosen > 0 ? chosen : default_threads();
}

void set_thread_count(int threads) {
  if (threads < 1 || threads > 4096)
    throw ArgumentError(fmt::format("threads must be between 1 and 4096, got {}", threads));
  chosen_threads = threads;
}

void on_refused_threads(void (*told)(int asked, int granted)) { told_of_refusal = told; }

void parallel_for(std::int64_t count, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count <= 0) return;
  Loop loop{count, grain, (count + grain - 1) / grain, body};
  const int threads = thread_count();
  if (loop.chunks > 1 && threads > 1 && !inside_loop) {
    if (const std::unique_lock turn(pool_mutex, std::try_to_lock); turn.owns_lock()) {
      pool_of(threads).run(loop);
      if (loop.failure) std::rethrow_exception(loop.failure);
      return;
    }
  }
  for (std::int64_t begin = 0; begin < count; begin += grain) body(begin, std::min(count, begin + grain));
}

}  // namespace weir
