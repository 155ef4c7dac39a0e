#include "train/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "train/append_file.h"

namespace weir {

namespace fs = std::filesystem;

namespace {
constexpr std::uint64_t kLargestTokenizer = std::uint64_t{1} << 28;
}

RunDirectory::RunDirectory(const std::string& path) : path_(path) {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error)
    throw RunError(ExitCode::io, fmt::format("{}: cannot create the run folder: {}; choose another with --run", path_,
                                             error.message()));
  lock_ = open(file("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (lock_ < 0) throw RunError(ExitCode::io, fmt::format("{}: cannot open: {}", file("lock"), std::strerror(errno)));
  // The kernel drops the lock when the process ends, however it ends.
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    char owner[32] = {};
    const bool known = read(lock_, owner, sizeof owner - 1) > 0;
    close(lock_);
    throw RunError(ExitCode::io, fmt::format("{}: another process{} trains in this folder; wait for it or choose "
                                             "another with --run",
                                             path_, known ? fmt::format(" ({})", owner) : ""));
  }
  const std::string text = fmt::format("pid {}", getpid());
  if (ftruncate(lock_, 0) != 0 || pwrite(lock_, text.data(), text.size(), 0) < 0)
    fmt::print(stderr, "weir: warning: {}: cannot note the owner: {}\n", file("lock"), std::strerror(errno));
  remove_unfinished_files();
}

// A folder in which no run began is left as it was found, or not at all.
RunDirectory::~RunDirectory() {
  if (!has_run()) {
    unlink(file("lock").c_str());
    rmdir(path_.c_str());
  }
  close(lock_);
}

// Files that a killed process was about to put in place.
void RunDirectory::remove_unfinished_files() const {
  std::error_code error;
  std::vector<fs::path> doomed;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with('.') && name.find(".tmp-") != std::string::npos) doomed.push_back(entry->path());
  }
  for (const fs::path& path : doomed) fs::remove(path, error);
}

bool RunDirectory::has_run() const { return fs::exists(file("config.toml")); }

std::string RunDirectory::keep_tokenizer(const Corpus& corpus) const {
  if (corpus.is_bytes()) return "bytes";
  const std::string name = "tokenizer" + fs::path(corpus.tokenizer()).extension().string();
  if (!(has_run() && fs::exists(file(name))))
    write_file_atomically(file(name), read_file(corpus.tokenizer(), kLargestTokenizer));
  return name;
}

std::unique_ptr<Tokenizer> tokenizer_of(const std::string& checkpoint) {
  const std::string name = checkpoint_tokenizer(checkpoint);
  const std::string run = (fs::path(checkpoint) / ".." / "..").lexically_normal().string();
  auto tokenizer = open_tokenizer(name == "bytes" ? name : (fs::path(run) / name).string());
  const std::int64_t expected = checkpoint_config(checkpoint).model.vocabulary;
  if (tokenizer->vocabulary() != expected)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}/{}: this tokenizer has {} tokens, the model of {} has {}: copy the tokenizer of the "
                               "data there again",
                               run, name, tokenizer->vocabulary(), checkpoint, expected));
  return tokenizer;
}

std::optional<CheckpointInfo> newest_valid_checkpoint(const std::string& run) {
  const std::vector<CheckpointInfo> found = list_checkpoints(run + "/checkpoints");
  std::string first_reason;
  for (const CheckpointInfo& checkpoint : found) {
    try {
      verify_checkpoint(checkpoint.path);
      return checkpoint;
    } catch (const RunError& error) {
      warn_on_stderr(error.what());
      if (first_reason.empty()) first_reason = error.what();
    }
  }
  if (!found.empty())
    throw RunError(ExitCode::bad_data, fmt::format("{}: all {} checkpoints are damaged ({}); start anew in another "
                                                   "folder with --run",
                                                   run, found.size(), first_reason));
  return std::nullopt;
}

std::string resolve_checkpoint(const std::string& path) {
  if (fs::exists(path + "/MANIFEST.json")) return path;
  if (!fs::is_directory(path))
    throw RunError(ExitCode::io, fmt::format("{}: no such run or checkpoint folder; see 'ls runs'", path));
  if (const auto newest = newest_valid_checkpoint(path)) return newest->path;
  throw RunError(ExitCode::bad_data,
                 fmt::format("{}: there is no checkpoint in this folder; train one with 'weir train'", path));
}

}  // namespace weir
