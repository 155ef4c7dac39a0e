#include "tools/weir/breakdown.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>

#include "core/parallel.h"
#include "core/profile_range.h"

namespace weir {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

struct Products {
  double seconds = 0, flops = 0;
};

// What one thread has open and has summed up. Read by another one only while this one has no work.
struct ThreadRanges {
  struct Open {
    double flops;
    std::size_t op;  // of the calling thread, when this range began
    Clock::time_point start;
  };
  std::vector<Open> open;
  std::vector<Products> products;  // by op
};

struct Op {
  const char* name;
  std::int64_t calls = 0;
  double seconds = 0;
};

// The calling thread's time, and where the other threads find what op it is in.
class Collector {
 public:
  void start() {
    ops_.assign(1, {kOutside});
    {
      const std::lock_guard lock(threads_mutex_);
      for (const auto& thread : threads_) thread->products.clear();
    }
    caller_ = &this_thread();
    current_ = 0;
  }

  void resume() { mark_ = Clock::now(); }
  void pause() { charge(Clock::now()); }

  void begin(const char* name, double flops) {
    ThreadRanges& thread = this_thread();
    thread.open.push_back({flops, current_.load(std::memory_order_relaxed), Clock::now()});
    if (flops > 0 || &thread != caller_) return;
    charge(thread.open.back().start);
    const std::size_t op = index_of(name);
    ++ops_[op].calls;
    current_.store(op, std::memory_order_relaxed);
  }

  void end() {
    ThreadRanges& thread = this_thread();
    const ThreadRanges::Open range = thread.open.back();
    thread.open.pop_back();
    if (range.flops > 0) {
      if (thread.products.size() <= range.op) thread.products.resize(range.op + 1);
      thread.products[range.op].seconds += seconds_between(range.start, Clock::now());
      thread.products[range.op].flops += range.flops;
    } else if (&thread == caller_) {
      charge(Clock::now());
      current_.store(range.op, std::memory_order_relaxed);
    }
  }

  // Rows of `steps` steps, in any order; two ops of one name are two.
  std::vector<BreakdownRow> rows(std::int64_t steps) {
    std::vector<BreakdownRow> rows;
    const auto per_step = static_cast<double>(steps), per_thread = per_step * thread_count();
    for (const Op& op : ops_)
      rows.push_back({op.name, static_cast<double>(op.calls) / per_step, op.seconds / per_step});
    const std::lock_guard lock(threads_mutex_);
    for (const auto& thread : threads_)
      for (std::size_t op = 0; op < thread->products.size(); ++op) {
        rows[op].product_seconds += thread->products[op].seconds / per_thread;
        rows[op].product_flops += thread->products[op].flops / per_step;
      }
    return rows;
  }

 private:
  // The lock is taken once per thread and process.
  ThreadRanges& this_thread() {
    thread_local ThreadRanges* const ranges = [this] {
      const std::lock_guard lock(threads_mutex_);
      return threads_.emplace_back(std::make_unique<ThreadRanges>()).get();
    }();
    return *ranges;
  }

  // Gives the time since the last call to the op that the calling thread is in.
  void charge(Clock::time_point now) {
    ops_[current_.load(std::memory_order_relaxed)].seconds += seconds_between(mark_, now);
    mark_ = now;
  }

  std::size_t index_of(const char* name) {
    const auto place = std::find_if(ops_.begin(), ops_.end(), [&](const Op& op) { return op.name == name; });
    if (place != ops_.end()) return static_cast<std::size_t>(place - ops_.begin());
    ops_.push_back({name});
    return ops_.size() - 1;
  }

  std::mutex threads_mutex_;
  std::vector<std::unique_ptr<ThreadRanges>> threads_;  // never taken away: threads keep a pointer to theirs
  const ThreadRanges* caller_ = nullptr;
  std::vector<Op> ops_;
  std::atomic<std::size_t> current_{0};
  Clock::time_point mark_;
};

Collector& collector() {
  static Collector one;
  return one;
}

// While this lives, the hooks are the collector's, and the time is a step's.
class Hooked {
 public:
  Hooked() : before_(profile_hooks) {
    profile_hooks = {.begin = [](const char* name, double flops) { collector().begin(name, flops); },
                     .end = [] { collector().end(); }};
    collector().resume();
  }
  ~Hooked() {
    collector().pause();
    profile_hooks = before_;
  }
  Hooked(const Hooked&) = delete;
  Hooked& operator=(const Hooked&) = delete;

 private:
  ProfileHooks before_;
};

template <class Member>
double total(const std::vector<BreakdownRow>& rows, Member member) {
  double sum = 0;
  for (const BreakdownRow& row : rows) sum += row.*member;
  return sum;
}

}  // namespace

double Breakdown::product_seconds() const { return total(rows, &BreakdownRow::product_seconds); }
double Breakdown::product_flops() const { return total(rows, &BreakdownRow::product_flops); }

Breakdown break_down(std::int64_t steps, const std::function<void()>& step, const std::function<void()>& between) {
  collector().start();
  for (std::int64_t i = 0; i < steps; ++i) {
    between();
    const Hooked hooked;
    step();
  }
  Breakdown breakdown{steps, 0, collector().rows(steps)};
  breakdown.seconds = total(breakdown.rows, &BreakdownRow::seconds);
  std::stable_sort(breakdown.rows.begin(), breakdown.rows.end(),
                   [](const BreakdownRow& a, const BreakdownRow& b) { return a.seconds > b.seconds; });
  return breakdown;
}

}  // namespace weir
