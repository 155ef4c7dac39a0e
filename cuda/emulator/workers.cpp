#include "cuda/emulator/workers.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/alternate_stack.h"

namespace weir::emulator {
namespace {

// The helpers of one launching thread.
class Workers {
 public:
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      share_ = nullptr;
      ++call_;
    }
    called_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

  void run(unsigned count, const std::function<void(unsigned)>& share) {
    while (threads_.size() + 1 < count)
      threads_.emplace_back([this, id = static_cast<unsigned>(threads_.size()) + 1, seen = call_] { help(id, seen); });
    errors_.assign(count, nullptr);
    {
      const std::lock_guard lock(mutex_);
      share_ = &share;
      count_ = count;
      busy_ = count - 1;
      ready_ = 0;
      ++call_;
    }
    called_.notify_all();
    work(0, share);
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return busy_ == 0; });
    for (const std::exception_ptr& error : errors_)
      if (error != nullptr) std::rethrow_exception(error);
  }

 private:
  void help(unsigned id, unsigned seen) {
    const AlternateStack for_handlers;
    for (std::unique_lock lock(mutex_);;) {
      called_.wait(lock, [&] { return call_ != seen; });
      seen = call_;
      if (share_ == nullptr) return;
      if (id >= count_) continue;
      lock.unlock();
      work(id, *share_);
      lock.lock();
      if (--busy_ == 0) finished_.notify_one();
    }
  }
  // Nobody begins before all have left the mutex: who locked it after another's work would come after that work in the
  // race checker's eyes. The checker does not see this counter.
  void work(unsigned id, const std::function<void(unsigned)>& share) {
    for (++ready_; ready_ < count_;) std::this_thread::yield();
    try {
      share(id);
    } catch (...) {
      errors_[id] = std::current_exception();
    }
  }

  std::mutex mutex_;
  std::condition_variable called_, finished_;
  const std::function<void(unsigned)>* share_ = nullptr;  // null: the helpers end
  unsigned count_ = 0, busy_ = 0, call_ = 0;
  std::atomic<unsigned> ready_ = 0;
  std::vector<std::exception_ptr> errors_;
  std::vector<std::thread> threads_;
};

}  // namespace

void run_on_workers(unsigned count, const std::function<void(unsigned)>& share) {
  static thread_local Workers workers;
  workers.run(count, share);
}

}  // namespace weir::emulator
