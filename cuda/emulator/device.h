// The emulator's side of cuda/device.h: launching, shared memory, asynchronous copies.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/emulator/arithmetic.h"
#include "cuda/emulator/atomics.h"
#include "cuda/emulator/intrinsics.h"
#include "cuda/emulator/language.h"
#include "cuda/emulator/launch.h"
#include "cuda/emulator/queue.h"

namespace weir::cuda {

using emulator::LaunchShape;

// Work in the order of submission; null for a stream that never captures.
using Stream = emulator::Queue*;

template <auto kernel, class... Arguments>
void launch(const LaunchShape& shape, Stream stream, Arguments&&... arguments) {
  emulator::Launcher<kernel>::run(__PRETTY_FUNCTION__, shape, stream, std::forward<Arguments>(arguments)...);
}

// The block's object of type T in shared memory; the same one wherever it is asked for. No constructor runs.
template <class T>
T& shared(WEIR_HERE) {
  static_assert(sizeof(T) <= 48 * 1024, "shared objects may have 48 KiB; more is to be had as dynamic shared memory");
  static const char key = 0;
  emulator::Block& block = emulator::Block::current();
  void* const piece = block.shared_memory().piece(&key, sizeof(T), alignof(T));
  if (piece == nullptr) block.fail("the block's shared memory is used up", {file, line});
  return *static_cast<T*>(piece);
}

// The first of the launch's dynamic_shared_bytes, a multiple of 128; the same place whatever T.
template <class T>
T* dynamic_shared(WEIR_HERE) {
  emulator::Block& block = emulator::Block::current();
  void* const piece = block.dynamic_shared();
  if (piece == nullptr) block.fail("the launch gave no dynamic shared memory", {file, line});
  return static_cast<T*>(piece);
}

// Copies 16 bytes from global to shared memory, of which the last 16 - `bytes` become zeros; done at the latest when
// the thread waits. Both places must be multiples of 16 bytes.
inline void copy_16_async(void* to, const void* from, int bytes = 16, WEIR_HERE) {
  emulator::Block& block = emulator::Block::current();
  const emulator::Place here{file, line};
  if ((reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % 16 != 0)
    block.fail("an asynchronous copy of 16 bytes from or to a place that is no multiple of 16", here);
  if (!block.shared_memory().contains(to, 16)) block.fail("an asynchronous copy to outside of shared memory", here);
  if (bytes < 0 || bytes > 16) block.fail("an asynchronous copy of " + std::to_string(bytes) + " bytes", here);
  block.copies().add(to, from, static_cast<std::size_t>(bytes), static_cast<std::size_t>(16 - bytes));
}
inline void commit_copies() { emulator::Block::current().copies().commit(); }
// Returns when at most `groups_left` of this thread's committed groups are still under way.
template <int groups_left>
void wait_copies() {
  emulator::Block::current().copies().wait(groups_left);
}

}  // namespace weir::cuda
