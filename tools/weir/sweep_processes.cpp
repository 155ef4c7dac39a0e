// Running a sweep: each run is a `weir train` process of its own.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/output.h"
#include "core/text.h"
#include "tools/weir/signals.h"
#include "tools/weir/sweep.h"
#include "train/new_run_folder.h"
#include "train/progress.h"
#include "train/run_directory.h"
#include "train/run_lookup.h"
#include "train/run_result.h"
#include "train/schedule.h"

namespace weir {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string own_binary() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

// What a run prints and says, in files of its folder; opened by the sweep, which can say what is wrong with them.
struct ChildFiles {
  int result, log;

  explicit ChildFiles(const SweepRun& run) : result(create_file(run.file("result.json"))), log(-1) {
    try {
      log = create_file(run.file("log.txt"));
    } catch (...) {
      close(result);
      throw;
    }
  }
  ~ChildFiles() {
    close(result);
    close(log);
  }
  ChildFiles(const ChildFiles&) = delete;
  ChildFiles& operator=(const ChildFiles&) = delete;
};

// In the child, where only calls that are safe after a fork may be made. Its own process group, so that Ctrl-C reaches
// the sweep alone, which passes it on; a signal if the sweep dies, so that nothing trains on unseen.
[[noreturn]] void become_train(const char* const* arguments, const ChildFiles& files, pid_t sweep) {
  setpgid(0, 0);
  restore_signals();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int nothing = open("/dev/null", O_RDONLY);
  if (getppid() != sweep || dup2(nothing, 0) < 0 || dup2(files.result, 1) < 0 || dup2(files.log, 2) < 0) _exit(74);
  execv(arguments[0], const_cast<char* const*>(arguments));
  _exit(70);
}

// The folder of a variant is one that the sweep made; a link would lead out of its folder.
void make_folder(const std::string& path) {
  if (const std::error_code error = make_directories(path)) throw std::filesystem::filesystem_error("", path, error);
  if (std::filesystem::is_symlink(path))
    throw RunError(ExitCode::io, fmt::format("{}: this is a symbolic link, where the sweep has a folder for one of its "
                                             "runs; move it away, or choose another folder with --run",
                                             printable(path, 4096)));
}

pid_t start(const SweepRun& run) {
  make_folder(run.folder);
  if (!holds_run(run.folder)) check_new_run_folder(run.folder, run.config.data);
  check_replaceable(run.file("config.toml"));
  if (!is_there(run.file("config.toml"))) write_file_atomically(run.file("config.toml"), to_toml(run.config));
  const std::string binary = own_binary();
  const ChildFiles files(run);
  const char* const arguments[] = {binary.c_str(), "train", "--resume", "--run", run.folder.c_str(), "--json", nullptr};
  const pid_t sweep = getpid(), child = fork();
  if (child < 0)
    throw RunError(ExitCode::io, fmt::format("cannot start a process: {}; lower --jobs", std::strerror(errno)));
  if (child == 0) become_train(arguments, files, sweep);
  return child;
}

// The last line of the log without "weir: ".
std::string last_words(const SweepRun& run) {
  std::string text;
  try {
    text = read_file(run.file("log.txt"), 1 << 24, Empty::allowed);
  } catch (const Error&) {
    return {};
  }
  text.erase(text.find_last_not_of('\n') + 1);
  text.erase(0, text.find_last_of('\n') + 1);
  return text.starts_with("weir: ") ? text.substr(6) : text;
}

// What a run that diverged advises is for one that is trained by itself.
std::string reason_of(const SweepRun& run, int code) {
  const std::string words = last_words(run);
  return code == static_cast<int>(ExitCode::diverged) ? words.substr(0, words.find("; ")) : words;
}

double share_done(const SweepRun& run) {
  const std::int64_t limit = step_limit(run.config.train, run.config.train.batch_size * run.config.model.segment);
  if (limit == 0) return 0;
  try {
    const auto steps = static_cast<double>(read_run_result(run.file("metrics.jsonl")).last_step);
    return std::min(1.0, steps / static_cast<double>(limit));
  } catch (const RunError&) {  // the run itself says what is wrong
    return 0;
  }
}

class Supervisor {
 public:
  Supervisor(const Sweep& sweep, std::int64_t jobs, bool quiet)
      : sweep_(sweep), jobs_(static_cast<std::size_t>(jobs)), quiet_(quiet), live_(!quiet && out_.is_live_terminal()) {
    for (const SweepRun& run : sweep.runs) (run.finished() ? done_ : waiting_).push_back(&run);
    std::reverse(waiting_.begin(), waiting_.end());  // the next one is at the back
    done_before_ = done_.size();
  }

  SweepOutcome run() {
    say(fmt::format("{}: {}, {} of them finished before, {} at a time; in {}", sweep_.name,
                    counted(sweep_.runs.size(), "run"), done_before_, jobs_, printable(sweep_.folder, 4096)));
    for (const std::string& note : sweep_.notes) say("note: " + note);
    while (!running_.empty() || (!waiting_.empty() && !stopping())) {
      while (running_.size() < jobs_ && !waiting_.empty() && !stopping()) start_next();
      pass_signals_on();
      reap();
      show_status();
      usleep(50'000);
    }
    clear_status();
    outcome_.stopped = stopping() && done_.size() + outcome_.failed.size() < sweep_.runs.size();
    return outcome_;
  }

 private:
  struct Child {
    pid_t process;
    const SweepRun* run;
    double started;
  };

  static bool stopping() { return stop_signals() > 0; }

  void start_next() {
    const SweepRun* const run = waiting_.back();
    waiting_.pop_back();
    try {
      running_.push_back({start(*run), run, now()});
    } catch (const Error& error) {
      failed(*run, static_cast<int>(error.code()), error.what());
    }
  }

  void failed(const SweepRun& run, int code, const std::string& reason) {
    outcome_.failed.push_back(run.name + ": " + reason);
    if (outcome_.failed_code == 0) outcome_.failed_code = code;
    if (code == static_cast<int>(ExitCode::diverged)) ++outcome_.diverged;
    say("failed: " + outcome_.failed.back());
  }

  // The first signal lets each child save, the second ends it at once.
  void pass_signals_on() {
    for (const int taken = stop_signals(); passed_on_ < taken; ++passed_on_) {
      if (passed_on_ == 0)
        say(fmt::format("stopping: {} first; a second signal ends {} at once",
                        running_.size() == 1 ? "1 run saves" : fmt::format("{} runs save", running_.size()),
                        running_.size() == 1 ? "it" : "them"));
      for (const Child& child : running_) kill(child.process, SIGTERM);
    }
  }

  void reap() {
    for (std::size_t i = 0; i < running_.size();) {
      int status = 0;
      if (waitpid(running_[i].process, &status, WNOHANG) <= 0) {
        ++i;
        continue;
      }
      const Child child = running_[i];
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
      ended(child, status);
    }
  }

  void ended(const Child& child, int status) {
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == 0 && child.run->finished()) {
      done_.push_back(child.run);
      const auto result = read_run_result(child.run->file("metrics.jsonl")).last;
      say(fmt::format("{}: {} ({:.0f} s; {} of {} done)", child.run->name,
                      result ? fmt::format("{:.4f} {}", result->value(), unit_symbol(result->own_unit())) : "finished",
                      now() - child.started, done_.size(), sweep_.runs.size()));
    } else if (code == static_cast<int>(ExitCode::stopped)) {
      say(fmt::format("{}: stopped, saved", child.run->name));
    } else if (stopping() && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) {
      say(fmt::format("{}: stopped before it had begun", child.run->name));
    } else {
      const std::string reason = WIFSIGNALED(status)
                                     ? fmt::format("ended by signal {}", WTERMSIG(status))
                                     : fmt::format("exit code {}: {}", code, reason_of(*child.run, code));
      failed(*child.run, code > 0 ? code : static_cast<int>(ExitCode::internal), reason);
    }
  }

  // Runs differ in cost, so the time left is a guess from what this session has done, parts of runs included.
  std::string status() const {
    std::string text = fmt::format("{}/{} done", done_.size(), sweep_.runs.size());
    if (!outcome_.failed.empty()) text += fmt::format(", {} failed", outcome_.failed.size());
    auto worked = static_cast<double>(done_.size() - done_before_);
    auto left = static_cast<double>(waiting_.size());
    std::string names;
    for (const Child& child : running_) {
      const double share = share_done(*child.run);
      worked += share;
      left += 1 - share;
      names += fmt::format(" | {} {:.0f}%", child.run->name, 100 * share);
    }
    if (worked > 0) text += fmt::format(", about {} left", format_duration((now() - started_) / worked * left));
    return (text + names).substr(0, 79);
  }

  void show_status() {
    if (!live_ || now() - shown_at_ < 1) return;
    out_.try_write("\r" + printable(status()) + "\x1b[K");
    out_.try_flush();
    shown_at_ = now();
  }

  void clear_status() const {
    if (!live_) return;
    out_.try_write("\r\x1b[K");
    out_.try_flush();
  }

  void say(const std::string& text) const {
    if (quiet_) return;
    clear_status();
    out_.try_write(printable_text(text) + "\n");
    out_.try_flush();
  }

  const Sweep& sweep_;
  Output& out_ = standard_output();  // whose reader may go: the runs go on
  const std::size_t jobs_;
  const bool quiet_, live_;
  std::vector<const SweepRun*> waiting_, done_;
  std::vector<Child> running_;
  SweepOutcome outcome_;
  std::size_t done_before_ = 0;
  int passed_on_ = 0;
  const double started_ = now();
  double shown_at_ = 0;
};

}  // namespace

SweepOutcome run_sweep(const Sweep& sweep, std::int64_t jobs, bool quiet) {
  const RunDirectory one_at_a_time(sweep.folder, [&] {
    if (!holds_any_run(sweep)) check_new_sweep_folder(sweep.folder);
  });
  return Supervisor(sweep, jobs, quiet).run();
}

}  // namespace weir
