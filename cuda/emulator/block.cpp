#include "cuda/emulator/block.h"

#include <algorithm>
#include <map>
#include <random>
#include <tuple>
#include <utility>

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim{}, gridDim{};

namespace weir::emulator {

constinit thread_local Block* Block::running_block = nullptr;

namespace {

std::string text(uint3 i) {
  return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}

std::string text(Place place) {
  const std::string file(place.file);
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(place.line);
}

std::string hex(unsigned mask) {
  std::string digits;
  for (int shift = 28; shift >= 0; shift -= 4) digits += "0123456789abcdef"[mask >> shift & 15];
  return "0x" + digits;
}

}  // namespace

void thread_fence() {
  static constinit Meeting fence;
  fence.acquire();
  fence.release();
}

void Block::refuse_outside() { throw KernelError("a device function was called outside of a kernel"); }

void Block::fail(const std::string& what, Place place) const {
  throw KernelError(text(place) + ": " + what + ", in thread " + text(threadIdx) + " of block " + text(block_index_));
}

void Block::run(const LaunchShape& shape, uint3 index, Schedule schedule, void (*kernel)(const void*),
                const void* argument) {
  block_index_ = blockIdx = index;
  blockDim = shape.block;
  gridDim = shape.grid;
  prepare(shape, schedule);
  kernel_ = kernel;
  argument_ = argument;
  Block* const outer = running_block;
  running_block = this;
  start_.release();
  Fiber::switch_between(launcher_, fresh_fiber());
  end_.acquire();
  running_block = outer;
  if (error_ == nullptr) {
    if (const std::string stray = shared_.stray_write(); !stray.empty())
      error_ = std::make_exception_ptr(KernelError(stray + ", in block " + text(block_index_)));
  }
  if (error_ == nullptr) return;
  recover();
  std::rethrow_exception(std::exchange(error_, nullptr));
}

// What is the same as in the last block is left alone: most launches have many blocks, and most blocks little to do.
// Everything that threads need is allocated here, for memory that one thread allocates and another frees is a race.
void Block::prepare(const LaunchShape& shape, Schedule schedule) {
  const dim3 before = shape_.block, now = shape.block;
  const bool other_threads = before.x != now.x || before.y != now.y || before.z != now.z;
  shape_ = shape;
  if (other_threads) number_threads();
  if (races_are_checked() && (other_threads || schedule.grouping != schedule_.grouping))
    name_threads(schedule.grouping);
  if (other_threads || schedule != schedule_ || schedule.order == Order::random) order_threads(schedule);
  schedule_ = schedule;
  next_turn_ = 0;
  all_started_ = false;
  first_runnable_ = end_runnable_ = ended_ = 0;
  shared_.reset(shape.dynamic_shared_bytes);
  launcher_.adopt_caller();
}

void Block::number_threads() {
  const dim3 b = shape_.block;
  const unsigned count = count_ = b.x * b.y * b.z;
  threads_.resize(count);
  for (unsigned id = 0; id < count; ++id) threads_[id].index = {id % b.x, id / b.x % b.y, id / b.x / b.y};
  warps_.resize((count + 31) / 32);
  idle_.reserve(count);
  fibers_.reserve(count);
  while (races_are_checked() && fibers_.size() < count)
    fibers_.push_back(std::make_unique<Fiber>(fiber_main, this, fibers_.size()));
}

void Block::name_threads(unsigned grouping) {
  if (!checked_.are_made()) checked_.make();
  for (unsigned id = 0; id < count_; ++id) fibers_[id]->be_checked_as(checked_.context(id, grouping));
}

void Block::order_threads(Schedule schedule) {
  const auto count = static_cast<unsigned>(threads_.size());
  turns_.resize(count);
  for (unsigned id = 0; id < count; ++id) turns_[id] = schedule.order == Order::reverse ? count - 1 - id : id;
  if (schedule.order == Order::random) {
    std::mt19937 random(schedule.seed + 7919 * block_index_.x + 104729 * block_index_.y + 1299709 * block_index_.z);
    std::shuffle(turns_.begin(), turns_.end(), random);
  }
  warp_turns_ = turns_;
  std::stable_sort(warp_turns_.begin(), warp_turns_.end(), [](unsigned a, unsigned b) { return a / 32 < b / 32; });
}

// After an error: threads are stuck on their stacks, in barriers, in warp operations.
void Block::recover() {
  for (Thread& t : threads_) {
    t.waiting = {};
    t.copies.clear();
  }
  for (Warp& w : warps_) w.used = 0;
  at_barrier_ = 0;
  barrier_sum_ = 0;
  divergent_ = false;
  idle_.clear();
  for (const auto& fiber : fibers_) {
    fiber->restart();
    if (!races_are_checked()) idle_.push_back(fiber.get());
  }
  if (!races_are_checked()) return;
  checked_.make();  // the old ones stand in calls that never return
  name_threads(schedule_.grouping);
}

// For the thread whose turn it is to start.
Fiber& Block::fresh_fiber() {
  if (races_are_checked()) {
    running_fiber_ = fibers_[turns_[next_turn_]].get();
    return *running_fiber_;
  }
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(fiber_main, this, fibers_.size()));
    idle_.push_back(fibers_.back().get());
  }
  running_fiber_ = idle_.back();
  idle_.pop_back();
  return *running_fiber_;
}

void Block::fiber_main(void* block) {
  Block& self = *static_cast<Block*>(block);
  for (;;) {
    self.run_threads();
    Fiber& mine = *self.running_fiber_;
    if (!races_are_checked()) self.idle_.push_back(&mine);
    self.leave(mine);
  }
}

void Block::run_threads() {
  do {
    const unsigned id = turns_[next_turn_++];
    all_started_ = next_turn_ == count_;
    run_thread(id);
  } while (!all_started_ && !races_are_checked());
}

void Block::run_thread(unsigned id) {
  become(id);
  start_.acquire();
  try {
    kernel_(argument_);
    if (!copies().empty())
      throw KernelError("thread " + text(threadIdx) + " of block " + text(block_index_) +
                        " ended while its asynchronous copies were under way; wait for them");
  } catch (...) {
    error_ = std::current_exception();
  }
  end_.release();
  if (error_ != nullptr) give_up(*running_fiber_);
  ++ended_;
}

void Block::become(unsigned id) {
  running_ = id;
  threadIdx = threads_[id].index;
}

// Member by member: a whole object built aside and copied in wider pieces makes the processor wait for its own writes.
Waiting& Block::will_wait(const char* op, Place place, unsigned mask) {
  Waiting& mine = threads_[running_].waiting;
  mine.op = op;
  mine.place.file = place.file;
  mine.place.line = place.line;
  mine.mask = mask;
  return mine;
}

void Block::wait() {
  Fiber& mine = *running_fiber_;
  const unsigned id = running_;
  threads_[id].fiber = &mine;
  leave(mine);
  threads_[id].waiting.op = nullptr;
  become(id);
}

// Threads that have not started come first, then those that were released, in the order of their release.
void Block::leave(Fiber& from) {
  unsigned id;
  if (next_turn_ < count_) {
    if (!all_started_) {
      Fiber::switch_between(from, fresh_fiber());
      return;
    }
    id = turns_[next_turn_++];
  } else if (first_runnable_ != end_runnable_) {
    id = runnable_[first_runnable_++ % kRing];
  } else {
    if (ended_ < count_) error_ = std::make_exception_ptr(KernelError(deadlock()));
    give_up(from);
    return;
  }
  running_fiber_ = threads_[id].fiber;
  if (running_fiber_ != &from) Fiber::switch_between(from, *running_fiber_);
}

void Block::give_up(Fiber& from) {
  end_.release();
  Fiber::switch_between(from, launcher_);
}

int Block::barrier(const char* op, Place place, bool predicate) {
  const Waiting& mine = will_wait(op, place, 0);
  Meeting& meeting = barrier_meetings_[barrier_generation_ % 2];
  meeting.release();
  barrier_sum_ += predicate ? 1 : 0;
  if (at_barrier_ == 0) first_at_barrier_ = &mine;
  if (!mine.meets(*first_at_barrier_)) divergent_ = true;
  if (++at_barrier_ == count_) {
    if (divergent_) throw KernelError(deadlock());
    ++barrier_generation_;
    barrier_count_ = std::exchange(barrier_sum_, 0);
    at_barrier_ = 0;
    next_turn_ = 0;
  }
  wait();
  meeting.acquire();
  return barrier_count_;  // the next barrier writes it when all have read it
}

void Block::warp_collective(unsigned mask, const char* op, Place place, void* payload, Finish finish) {
  const unsigned lane = running_ % 32;
  if ((mask >> lane & 1) == 0)
    fail(std::string(op) + " with mask " + hex(mask) + ", which leaves out the calling lane", place);
  Warp& warp = warps_[running_ / 32];
  Collective& meets = collective(warp, mask);
  Meeting& meeting = meets.meetings[meets.generation % 2];
  const Waiting& mine = will_wait(op, place, mask);
  if (meets.arrived == 0) meets.first = &mine;
  if (!mine.meets(*meets.first))
    fail(std::string(op) + " meets " + meets.first->op + " at " + text(meets.first->place) + " with the same mask " +
             hex(mask),
         place);
  warp.payloads[lane] = payload;
  meets.arrived |= 1u << lane;
  meeting.release();
  if (meets.arrived == mask) {
    meeting.acquire();
    finish(warp.payloads, mask);
    meeting.release();
    meets.arrived = 0;
    ++meets.generation;
    const unsigned first = running_ / 32 * 32, end = std::min(first + 32, count_);
    for (unsigned i = first; i < end; ++i)
      if ((mask >> warp_turns_[i] % 32 & 1) != 0) runnable_[end_runnable_++ % kRing] = warp_turns_[i];
  }
  wait();
  meeting.acquire();
}

// The warp's operation with that mask; a new one takes the place of one that nobody waits in.
Block::Collective& Block::collective(Warp& warp, unsigned mask) {
  for (unsigned i = 0; i < warp.used; ++i)
    if (warp.collectives[i].mask == mask) return warp.collectives[i];
  unsigned place = warp.used;
  if (place < 32)
    ++warp.used;
  else
    for (place = 0; warp.collectives[place].arrived != 0;) ++place;
  warp.collectives[place].mask = mask;
  warp.collectives[place].arrived = 0;
  return warp.collectives[place];
}

std::string Block::deadlock() const {
  std::map<std::tuple<std::string, std::string, unsigned>, unsigned> groups;
  for (const Thread& t : threads_)
    if (t.waiting.op != nullptr) ++groups[{std::string(t.waiting.op), text(t.waiting.place), t.waiting.mask}];
  std::string message = "the threads of block " + text(block_index_) + " wait for one another:";
  for (const auto& [group, count] : groups) {
    const auto& [op, place, mask] = group;
    message += " " + std::to_string(count) + " at " + op + " in " + place;
    if (mask != 0) message += " with mask " + hex(mask);
    message += ";";
  }
  return message + " " + std::to_string(ended_) + " have ended";
}

}  // namespace weir::emulator
