#include "tools/weir/signals.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <string_view>
#include <system_error>
#include <thread>

#include "core/error.h"

namespace weir {
namespace {

constexpr std::array kStopSignals = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
constexpr std::array<std::string_view, 3> kTakers = {"train", "sweep", "prepare"};  // commands that take them

sigset_t taken_set, inherited_mask;
bool held = false, mask_changed = false;
// Never destroyed: the thread that waits outlives main().
std::function<void(int)>& on_taken = *new std::function<void(int)>;
std::atomic<int> taken_count{0};
std::atomic<bool> a_thread_waits{false};

// What was changed, for restore_signals().
struct Ignored {
  int number;
  struct sigaction before {};
  bool changed = false;

  void ignore() {
    if (changed) return;
    struct sigaction action {};
    action.sa_handler = SIG_IGN;
    changed = sigaction(number, &action, &before) == 0;
  }
  void restore() const {
    if (changed) sigaction(number, &before, nullptr);
  }
};
Ignored broken_pipe{SIGPIPE}, file_size{SIGXFSZ};

sigset_t to_be_taken() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kStopSignals) {
    struct sigaction action {};
    if (sigaction(number, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
  return set;
}

// From here on they wait until somebody takes them.
void hold() {
  if (held) return;
  held = true;
  taken_set = to_be_taken();
  mask_changed = pthread_sigmask(SIG_BLOCK, &taken_set, &inherited_mask) == 0;
}

// The libraries take some ten milliseconds to initialise themselves, in which a signal would end the process. The
// program's .preinit_array comes before; of this program only what is initialised at compile time can be used there.
void hold_before_libraries(int count, char** words, char**) {
  if (count > 1 && std::find(kTakers.begin(), kTakers.end(), words[1]) != kTakers.end()) hold();
}
[[gnu::section(".preinit_array"), gnu::used]] void (*const before_libraries)(int, char**,
                                                                             char**) = hold_before_libraries;

}  // namespace

void take_stop_signals(std::function<void(int)> taken) {
  hold();
  on_taken = std::move(taken);
  try {
    // Until the process ends.
    std::thread([] {
      for (int number = 0;;)
        if (sigwait(&taken_set, &number) == 0) on_taken(++taken_count);
    }).detach();
    a_thread_waits = true;
  } catch (const std::system_error&) {  // no more threads are allowed: whoever asks looks
  }
}

int stop_signals() {
  constexpr timespec kAtOnce{};
  while (!a_thread_waits && sigtimedwait(&taken_set, nullptr, &kAtOnce) > 0) on_taken(++taken_count);
  return taken_count;
}

void exit_stopped() { _exit(static_cast<int>(ExitCode::stopped)); }

void ignore_write_signals() {
  broken_pipe.ignore();
  file_size.ignore();
}

void restore_signals() {
  broken_pipe.restore();
  file_size.restore();
  if (mask_changed) pthread_sigmask(SIG_SETMASK, &inherited_mask, nullptr);
}

}  // namespace weir
