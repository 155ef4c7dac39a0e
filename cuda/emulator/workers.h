// Threads of the operating system that run blocks at the same time.
#pragma once

#include <functional>

namespace weir::emulator {

// Calls share(0) on this thread and share(1) .. share(count - 1) on threads that wait for the next call afterwards, for
// new ones would make their fibers anew. Returns when all have returned; throws what the first of them threw.
void run_on_workers(unsigned count, const std::function<void(unsigned)>& share);

}  // namespace weir::emulator
