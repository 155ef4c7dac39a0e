// Threads on the CPU: one loop, and results that do not depend on how many threads run it.
//
// The loop is cut into chunks of `grain` items; the cut depends on the item count and the grain alone, so a reduction
// that keeps one partial result per chunk and adds them in order gives the same bits on any number of threads.
#pragma once

#include <cstdint>
#include <functional>

namespace weir {

int thread_count();
void set_thread_count(int threads);  // 1 or more

// Where the system refuses threads, loops run on those it grants: the same results, only later. `told` hears of it,
// once per choice of thread count, from the thread whose loop comes first; 1 granted is that thread alone.
void on_refused_threads(void (*told)(int asked, int granted));

// Calls body(begin, end) for consecutive chunks of [0, count), each `grain` items long but for the last. Chunks run in
// any order and at the same time. An exception thrown by `body` reaches the caller. Nested calls run serially.
void parallel_for(std::int64_t count, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& body);

// What a chunk costs, in elementary operations. A build for tests may cut as well what is small.
#ifndef WEIR_CHUNK_OPERATIONS
#define WEIR_CHUNK_OPERATIONS 32768
#endif
inline constexpr std::int64_t kChunkOperations = WEIR_CHUNK_OPERATIONS;

// Items per chunk such that a chunk costs about kChunkOperations.
inline std::int64_t grain_for(std::int64_t operations_per_item) {
  const std::int64_t grain = kChunkOperations / (operations_per_item > 0 ? operations_per_item : 1);
  return grain > 0 ? grain : 1;
}

}  // namespace weir
