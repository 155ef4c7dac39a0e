// Signal handlers beside matrix products. oneDNN's AVX-512 products keep data below the stack pointer, beyond the red
// zone, where the kernel writes a handler's frame. Three children compute products while they get signals:
//
//   handler            a handler on the stack of whatever thread computes: must crash or miscompute within 20 signals,
//                      or else none of our tests could see the defect
//   alternate stacks   the same handler with SA_ONSTACK, as docs/embedding.md allows: must survive
//   a thread waits     signals blocked and taken with sigwait, by the command's own code: must survive
//
// Where there is no such oneDNN or no AVX-512, the first says so and the program exits with 77.
#include <dirent.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/alternate_stack.h"
#include "core/parallel.h"
#include "ops/matmul.h"
#include "tools/weir/signals.h"

namespace weir {
namespace {

enum class Way { handler, alternate_stacks, a_thread_waits };

// In memory that parent and child share.
struct Shared {
  std::atomic<int> taken{0};  // signals
  std::atomic<int> products{0};
  std::atomic<bool> enough{false};
};
Shared* shared = nullptr;

void install_handler(int flags) {
  struct sigaction action {};
  action.sa_handler = [](int) { ++shared->taken; };
  action.sa_flags = flags;
  sigaction(SIGUSR1, &action, nullptr);
}

Tensor matrix(std::int64_t rows, std::int64_t cols, unsigned seed) {
  const Tensor t = Tensor::empty({rows, cols}, DType::float32);
  std::minstd_rand random(seed);
  for (std::int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = static_cast<float>(random() % 15) - 7;
  return t;
}

// The product of whole numbers is exact, so it is the same whatever the order of the sums. Exits with 1 where it is
// not.
[[noreturn]] void compute(Way way) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  if (way == Way::handler) install_handler(SA_RESTART);
  if (way == Way::alternate_stacks) install_handler(SA_RESTART | SA_ONSTACK);
  if (way == Way::a_thread_waits) take_stop_signals([](int signals) { shared->taken = signals; });
  std::optional<AlternateStack> of_this_thread;
  if (way == Way::alternate_stacks) of_this_thread.emplace();
  set_thread_count(2);
  const Tensor a = matrix(320, 256, 1), b = matrix(256, 320, 2), expected = matmul(a, b);
  while (!shared->enough) {
    const Tensor product = matmul(a, b);
    if (std::memcmp(product.raw(), expected.raw(), 320 * 320 * sizeof(float)) != 0) std::exit(1);
    ++shared->products;
  }
  std::exit(0);
}

// The threads of a process; none where it is gone.
std::vector<pid_t> threads_of(pid_t process) {
  std::vector<pid_t> threads;
  DIR* const folder = opendir(fmt::format("/proc/{}/task", process).c_str());
  if (folder == nullptr) return threads;
  while (const dirent* const entry = readdir(folder))
    if (entry->d_name[0] != '.') threads.push_back(std::atoi(entry->d_name));
  closedir(folder);
  return threads;
}

struct End {
  int signals = 0, products = 0;
  std::string failure;  // empty: it went on computing, and computed right
};

// Until the child fails or has taken `limit` signals. Where handlers run, any of the threads may get them.
End attempt(Way way, int limit) {
  shared = new (mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Shared;
  const pid_t child = fork();
  if (child == 0) compute(way);
  std::minstd_rand random(std::random_device{}());
  const auto pause = [&] { std::this_thread::sleep_for(std::chrono::microseconds(500 + random() % 4000)); };
  int status = 0, waited = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    pause();
    if (shared->products < 3) continue;  // it has only begun
    if (shared->taken >= limit) shared->enough = true;
    if (shared->enough && ++waited == 10000) kill(child, SIGKILL);  // it hangs: its memory is damaged
    const std::vector<pid_t> threads = threads_of(child);
    if (threads.empty() || shared->enough) continue;
    if (way == Way::a_thread_waits)
      kill(child, SIGUSR1);
    else
      syscall(SYS_tgkill, child, threads[random() % threads.size()], SIGUSR1);
  }
  End end{shared->taken, shared->products, {}};
  if (WIFSIGNALED(status))
    end.failure = fmt::format("ended by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else if (WEXITSTATUS(status) != 0)
    end.failure = "a product was wrong";
  munmap(shared, sizeof(Shared));
  return end;
}

// Why a handler may do no harm here; empty where it must.
std::string why_handlers_may_be_safe() {
#ifdef __SANITIZE_ADDRESS__
  return "the defect has not been seen under AddressSanitizer";
#endif
  using Version = const int* (*)();  // dnnl_version_t begins with major, minor, patch
  const auto version = reinterpret_cast<Version>(dlsym(RTLD_DEFAULT, "dnnl_version"));
  if (version == nullptr) return "this build is without oneDNN";
  if (const int* const v = version(); v[0] != 2 || v[1] != 6)
    return fmt::format("the defect is known of oneDNN 2.6, this is {}.{}.{}", v[0], v[1], v[2]);
  for (const bool there : {__builtin_cpu_supports("avx512f"), __builtin_cpu_supports("avx512bw"),
                           __builtin_cpu_supports("avx512dq"), __builtin_cpu_supports("avx512vl")})
    if (!there) return "this processor has no AVX-512";
  for (const char* const name : {"DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"})
    if (std::getenv(name) != nullptr) return std::string(name) + " may leave out AVX-512";
  return {};
}

bool must_survive(Way way, const char* name) {
  constexpr int kSignals = 400;
  const End end = attempt(way, kSignals);
  const bool good = end.failure.empty() && end.signals >= kSignals;
  fmt::print("{}: {}: {} signals beside {} products: {}\n", good ? "ok" : "FAILED", name, end.signals, end.products,
             end.failure.empty() ? "all right" : end.failure);
  return good;
}

constexpr const char* kTryHandler = "--try-handler";

// One process of must_fail(): exits with 0 where the handler does harm.
int try_handler() {
  constexpr int kSignals = 20;
  const End end = attempt(Way::handler, kSignals);
  fmt::print("after {} signals beside {} products: {}\n", end.signals, end.products,
             end.failure.empty() ? "still right" : end.failure);
  return end.failure.empty() ? 1 : 0;
}

// Where the damage does harm depends on where a process has its memory: in one layout of some hundreds 20 signals do
// none. A forked process has its parent's layout, so each of several is begun anew.
bool must_fail(const char* name) {
  constexpr int kProcesses = 5;
  for (int i = 0; i < kProcesses; ++i) {
    fmt::print("{}: process {}, ", name, i + 1);
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      execl("/proc/self/exe", "signal_handlers", kTryHandler, nullptr);
      std::exit(2);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status == 0) {
      fmt::print("ok: {}: the defect shows\n", name);
      return true;
    }
  }
  fmt::print("FAILED: {}: this test cannot see the defect\n", name);
  return false;
}

// What /proc/self/status says of the signals that are blocked and ignored, which is what exec keeps.
std::string signals_of_this_process() {
  std::ifstream status("/proc/self/status");
  std::string text;
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("SigBlk") || line.starts_with("SigIgn")) text += line + " ";
  return text;
}

// A child of `weir sweep` begins with what the sweep was started with.
bool must_restore() {
  const std::string before = signals_of_this_process();
  const pid_t child = fork();
  if (child == 0) {
    ignore_write_signals();
    take_stop_signals([](int) {});
    if (signals_of_this_process() == before) std::exit(1);
    restore_signals();
    std::exit(signals_of_this_process() == before ? 0 : 2);
  }
  int status = 0;
  waitpid(child, &status, 0);
  fmt::print("{}: a child gets the mask and the dispositions that its parent began with\n",
             status == 0 ? "ok" : "FAILED");
  return status == 0;
}

int run() {
  bool good = must_restore();
  good = must_survive(Way::a_thread_waits, "a thread waits") && good;
  good = must_survive(Way::alternate_stacks, "alternate stacks") && good;
  const std::string absent = why_handlers_may_be_safe();
  if (absent.empty())
    good = must_fail("a handler on the stack of a thread that computes") && good;
  else
    fmt::print("SKIPPED: a handler on the stack of a thread that computes: {}\n", absent);
  return !good ? 1 : absent.empty() ? 0 : 77;
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  if (argc == 2 && std::strcmp(argv[1], weir::kTryHandler) == 0) return weir::try_handler();
  return weir::run();
}
