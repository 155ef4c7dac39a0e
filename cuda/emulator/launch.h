// Launching kernels on the emulator, with the checks that the hardware makes.
#pragma once

#include <string>
#include <tuple>
#include <utility>

#include "cuda/emulator/block.h"
#include "cuda/emulator/queue.h"

namespace weir::emulator {

// Applies to this thread's launches from now on; the order in which threads and blocks run.
void set_order(Order order);
Order order();

// Throws KernelError for a launch that the hardware refuses; `kernel` names it in the message.
void check_launch(const std::string& kernel, const LaunchShape& shape);
// Runs every block of the grid, one after the other.
void run_grid(const LaunchShape& shape, void (*kernel)(const void*), const void* argument);

template <auto kernel>
struct Launcher;

template <class... Parameters, void (*kernel)(Parameters...)>
struct Launcher<kernel> {
  template <class... Arguments>
  static void run(const std::string& name, const LaunchShape& shape, Queue* stream, Arguments&&... arguments) {
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
