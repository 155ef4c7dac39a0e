// Signals that ask a command to stop. No handler ever runs on a thread that computes: oneDNN's AVX-512 products keep
// data below the stack pointer, where the kernel writes a handler's frame (docs/embedding.md). So these signals are
// blocked in every thread, and one thread waits for them. Weir installs no handler for any signal.
#pragma once

#include <functional>

namespace weir {

// From now on SIGINT, SIGTERM, SIGHUP and SIGUSR1 are counted instead of ending the process; `taken` is called for
// each, on the thread that waits, with their number so far. Those that came since the process began count as well,
// where signals.cpp names the command. To be called once, before anything starts another thread, because threads
// inherit what is blocked. A signal that was ignored when the process began stays so: nohup and shells ask for that.
void take_stop_signals(std::function<void(int)> taken);

// How many of them have come.
int stop_signals();

// The process ends at once, and what is on the disk stands.
[[noreturn]] void exit_stopped();

// A write to a pipe that nobody reads, or beyond the limit on the size of a file, becomes an error of that write
// instead of the end of the process.
void ignore_write_signals();

// For a child between fork and exec: what is blocked and ignored becomes what it was before the calls above.
void restore_signals();

}  // namespace weir
