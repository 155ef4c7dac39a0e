#include "cuda/emulator/block.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim{}, gridDim{};

namespace weir::emulator {
namespace {

constinit thread_local Block* running_block = nullptr;

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

Block& Block::current() {
  if (running_block == nullptr) throw KernelError("a device function was called outside of a kernel");
  return *running_block;
}

void Block::fail(const std::string& what, Place place) const {
  throw KernelError(text(place) + ": " + what + ", in thread " + text(threadIdx) + " of block " + text(block_index_));
}

void* Block::dynamic_shared() {
  static const char key = 0;
  const std::size_t bytes = shape_.dynamic_shared_bytes;
  return bytes == 0 ? nullptr : shared_.piece(&key, bytes, 128);
}

void Block::run(const LaunchShape& shape, uint3 index, Order order, void (*kernel)(const void*), const void* argument) {
  prepare(shape, index, order);
  kernel_ = kernel;
  argument_ = argument;
  Block* const outer = running_block;
  running_block = this;
  Fiber::switch_between(launcher_, fresh_fiber());
  running_block = outer;
  if (error_ == nullptr) {
    if (const std::string stray = shared_.stray_write(); !stray.empty())
      error_ = std::make_exception_ptr(KernelError(stray + ", in block " + text(block_index_)));
  }
  if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Block::prepare(const LaunchShape& shape, uint3 index, Order order) {
  const unsigned count = shape.block.x * shape.block.y * shape.block.z;
  const bool other_threads =
      count != threads_.size() || shape.block.x != shape_.block.x || shape.block.y != shape_.block.y;
  shape_ = shape;
  block_index_ = index;
  if (other_threads) threads_ = std::vector<Thread>(count);
  turns_.resize(count);
  for (unsigned id = 0; id < count; ++id) {
    Thread& t = threads_[id];
    t.index = {id % shape.block.x, id / shape.block.x % shape.block.y, id / shape.block.x / shape.block.y};
    t.started = t.ended = false;
    t.waiting = {};
    t.fiber = nullptr;
    t.copies.clear();
    turns_[id] = order == Order::natural ? id : count - 1 - id;
  }
  next_turn_ = 0;
  runnable_.clear();
  pending_.assign((count + 31) / 32, {});
  ended_ = at_barrier_ = 0;
  barrier_sum_ = 0;
  idle_.clear();
  for (const auto& fiber : fibers_) {
    fiber->restart();
    idle_.push_back(fiber.get());
  }
  shared_.reset();
  blockIdx = index;
  blockDim = shape.block;
  gridDim = shape.grid;
}

Fiber& Block::fresh_fiber() {
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
    self.idle_.push_back(&mine);
    self.leave(mine);
  }
}

void Block::run_threads() {
  while (next_turn_ < turns_.size()) run_thread(turns_[next_turn_++]);
}

void Block::run_thread(unsigned id) {
  become(id);
  threads_[id].started = true;
  try {
    kernel_(argument_);
    if (!copies().empty())
      throw KernelError("thread " + text(threadIdx) + " of block " + text(block_index_) +
                        " ended while its asynchronous copies were under way; wait for them");
  } catch (...) {
    error_ = std::current_exception();
  }
  if (error_ != nullptr) give_up(*running_fiber_);
  threads_[running_].ended = true;
  ++ended_;
}

void Block::become(unsigned id) {
  running_ = id;
  threadIdx = threads_[id].index;
}

void Block::wait() {
  Fiber& mine = *running_fiber_;
  const unsigned id = running_;
  threads_[id].fiber = &mine;
  leave(mine);
  become(id);
}

// Threads that have not started come first, then those that were released, in the order of their release.
void Block::leave(Fiber& from) {
  if (next_turn_ < turns_.size()) {
    Fiber::switch_between(from, fresh_fiber());
    return;
  }
  if (!runnable_.empty()) {
    const unsigned id = runnable_.front();
    runnable_.pop_front();
    if (running_fiber_ = threads_[id].fiber; running_fiber_ != &from) Fiber::switch_between(from, *running_fiber_);
    return;
  }
  if (ended_ < threads_.size()) error_ = std::make_exception_ptr(KernelError(deadlock()));
  give_up(from);
}

void Block::give_up(Fiber& from) { Fiber::switch_between(from, launcher_); }

void Block::release(unsigned id) {
  threads_[id].waiting = {};
  runnable_.push_back(id);
}

int Block::barrier(std::string_view op, Place place, bool predicate) {
  threads_[running_].waiting = {op, place, 0};
  barrier_sum_ += predicate ? 1 : 0;
  if (++at_barrier_ < threads_.size()) {
    wait();
    return threads_[running_].barrier_count;
  }
  for (const Thread& t : threads_)
    if (t.waiting.op != op || t.waiting.place != place) throw KernelError(deadlock());
  for (unsigned id : turns_) {
    threads_[id].barrier_count = barrier_sum_;
    release(id);
  }
  at_barrier_ = 0;
  barrier_sum_ = 0;
  wait();
  return threads_[running_].barrier_count;
}

void Block::warp_collective(unsigned mask, std::string_view op, Place place, void* payload, Finish finish) {
  const unsigned bit = 1u << lane(), warp = running_ / 32;
  if ((mask & bit) == 0)
    fail(std::string(op) + " with mask " + hex(mask) + ", which leaves out the calling lane", place);
  std::vector<Collective>& pending = pending_[warp];
  auto found = std::find_if(pending.begin(), pending.end(), [mask](const Collective& c) { return c.mask == mask; });
  if (found == pending.end()) found = pending.insert(found, {mask, 0, op, place, {}});
  if (found->op != op || found->place != place)
    fail(std::string(op) + " meets " + std::string(found->op) + " at " + text(found->place) + " with the same mask " +
             hex(mask),
         place);
  found->payloads[lane()] = payload;
  found->arrived |= bit;
  threads_[running_].waiting = {op, place, mask};
  if (found->arrived == mask) {
    const Collective complete = *found;
    pending.erase(found);
    finish(complete.payloads, mask);
    for (unsigned id : turns_)
      if (id / 32 == warp && (mask >> id % 32 & 1) != 0) release(id);
  }
  wait();
}

std::string Block::deadlock() const {
  std::map<std::tuple<std::string, std::string, unsigned>, unsigned> groups;
  for (const Thread& t : threads_)
    if (!t.waiting.op.empty()) ++groups[{std::string(t.waiting.op), text(t.waiting.place), t.waiting.mask}];
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
