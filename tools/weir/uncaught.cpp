// Memory that is refused where no exception may pass: while libraries initialise themselves before main(), in a
// destructor, in a library's function that is noexcept. The process ends, but with the sentence and the exit code of
// any other refusal.
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <new>
#include <string_view>

#include "core/error.h"

namespace weir {
namespace {

constexpr std::string_view kMessage =
    "weir: out of memory; end other programs, or raise the limit (ulimit -v, or the control group's)\n";

constinit std::terminate_handler handler_before = nullptr;

[[noreturn]] void end_process() {
  try {
    if (std::current_exception()) throw;
  } catch (const std::bad_alloc&) {
    if (write(STDERR_FILENO, kMessage.data(), kMessage.size()) > 0) _exit(static_cast<int>(ExitCode::out_of_memory));
  } catch (...) {
  }
  if (handler_before != nullptr) handler_before();
  std::abort();
}

void set_handler(int, char**, char**) { handler_before = std::set_terminate(end_process); }
[[gnu::section(".preinit_array"), gnu::used]] void (*const before_libraries)(int, char**, char**) = set_handler;

}  // namespace
}  // namespace weir
