// Launching kernels on the emulator, with the checks that the hardware makes.
#pragma once

#include <tuple>
#include <utility>

#include "cuda/emulator/block.h"
#include "cuda/emulator/queue.h"

namespace weir::emulator {

// These apply to this thread's launches from now on.
// The order in which threads and blocks run. The seed is for random order.
void set_order(Order order, unsigned seed = 0);
// The number of threads of the operating system that run blocks; at first 1, the thread that launches. With more,
// blocks run at the same time, so that the race checker finds races between blocks. Results of correct kernels stay
// the same.
void set_workers(unsigned count);
// Which warps of a block the race checker tells apart: see CheckedThreads. The groupings 0, 1 and 2 together part every
// two of 27 warps.
void set_grouping(unsigned grouping);

// Throws KernelError for a launch that the hardware refuses; `kernel` names it in the message.
void check_launch(const char* kernel, const LaunchShape& shape);
// Runs every block of the grid. Throws the first error of a block; blocks that had not begun by then do not run.
void run_grid(const LaunchShape& shape, void (*kernel)(const void*), const void* argument);

template <auto kernel>
struct Launcher;

template <class... Parameters, void (*kernel)(Parameters...)>
struct Launcher<kernel> {
  template <class... Arguments>
  static void run(const char* name, const LaunchShape& shape, Queue* stream, Arguments&&... arguments) {
    check_launch(name, shape);
    // By value, converted at once, as a launch on a GPU copies its arguments.
    auto work = [shape, values = std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)] {
      run_grid(
          shape,
          [](const void* argument) {
            call(*static_cast<const std::tuple<Parameters...>*>(argument), std::index_sequence_for<Parameters...>{});
          },
          &values);
    };
    if (stream == nullptr)
      work();
    else
      stream->submit(std::move(work));
  }

 private:
  template <std::size_t... I>
  static void call(const std::tuple<Parameters...>& values, std::index_sequence<I...>) {
    kernel(std::get<I>(values)...);
  }
};

}  // namespace weir::emulator
