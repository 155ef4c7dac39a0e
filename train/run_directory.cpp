#include "train/run_directory.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/owned_folder.h"
#include "core/text.h"
#include "train/append_file.h"
#include "train/data_paths.h"
#include "train/run_lookup.h"
#include "train/run_names.h"

namespace weir {

namespace fs = std::filesystem;

namespace {
constexpr std::uint64_t kLargestTokenizer = std::uint64_t{1} << 28;
constexpr const char* kRunFiles[] = {"config.toml", "metrics.jsonl", "samples.txt", "tokenizer.model",
                                     "tokenizer.json"};

// What is there is not what was saved, and will not be. Other errors, such as too many open files, are of the moment.
bool tells_of_damage(const SystemError& error) {
  constexpr int numbers[] = {ENOENT, ENOTDIR, EISDIR, ELOOP, ENXIO, EIO, EBADMSG, EUCLEAN};
  return std::find(std::begin(numbers), std::end(numbers), error.number()) != std::end(numbers);
}

std::string run_of(const std::string& checkpoint) {
  std::string run = (fs::path(checkpoint) / ".." / "..").lexically_normal().string();
  if (run.size() > 1 && run.ends_with('/')) run.pop_back();
  return run;
}
}  // namespace

RunDirectory::RunDirectory(const std::string& path, const std::function<void()>& look) : path_(path) {
  std::error_code ignored;
  if (fs::is_symlink(path_, ignored) && !fs::exists(path_, ignored))
    throw RunError(ExitCode::io, fmt::format("{}: this symbolic link leads to nothing; correct it, or choose another "
                                             "folder with --run",
                                             printable(path_, 4096)));
  if (const std::error_code error = make_directories(path_))
    throw RunError(ExitCode::io, fmt::format("{}: cannot create the run folder: {}; choose another with --run", path_,
                                             error.message()));
  lock_ = std::make_unique<RunLock>(path_, look);
  check_kinds();
  remove_unfinished_files();
}

// A folder in which no run began is left as it was found, or not at all.
RunDirectory::~RunDirectory() {
  try {
    if (has_config()) return;
    lock_->remove();
    rmdir(path_.c_str());
  } catch (const RunError&) {
    // It may have begun.
  }
}

void RunDirectory::check_kinds() const {
  for (const char* name : kRunFiles) check_replaceable(file(name));
  std::error_code ignored;
  const fs::file_type type = fs::status(checkpoints(), ignored).type();
  if (type != fs::file_type::not_found && type != fs::file_type::directory)
    throw RunError(ExitCode::io, fmt::format("{}: this is no folder, where checkpoints are to be saved; move it away",
                                             printable(checkpoints(), 4096)));
}

// Files that a killed process was about to put in place. Whoever writes a report holds no lock, and may be at it.
void RunDirectory::remove_unfinished_files() const {
  const auto is_doomed = [](const fs::directory_entry& entry) {
    const std::optional<std::string> whole = named_temporarily(entry.path().filename().string());
    std::error_code ignored;
    return whole && std::find(std::begin(kRunFiles), std::end(kRunFiles), *whole) != std::end(kRunFiles) &&
           fs::is_regular_file(entry.symlink_status(ignored));
  };
  std::error_code error;
  std::vector<fs::path> doomed;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error))
    if (is_doomed(*entry)) doomed.push_back(entry->path());
  for (const fs::path& path : doomed) fs::remove(path, error);
}

void RunDirectory::check_owned() const { lock_->check(); }

void RunDirectory::check_complete(const std::string& checkpoint) const {
  check_owned();
  std::vector<std::string> promised = {file("config.toml")};
  if (!checkpoint.empty())
    for (const std::string& name : checkpoint_files()) promised.push_back(checkpoint + "/" + name);
  std::error_code ignored;
  for (const std::string& path : promised)
    if (!fs::is_regular_file(path, ignored))
      throw RunError(ExitCode::io, fmt::format("{}: the run wrote this file, and it is not there any more; leave the "
                                               "folder alone while a run is in it, and train it again",
                                               printable(path, 4096)));
}

RunDirectory::KeptTokenizer RunDirectory::keep_tokenizer(const Corpus& corpus) const {
  if (corpus.is_bytes()) return {kByteTokenizer};
  const std::string name = "tokenizer" + fs::path(corpus.tokenizer()).extension().string();
  const std::string of_data = read_file(corpus.tokenizer(), kLargestTokenizer);
  if (!is_there(file(name))) {
    write_file_atomically(file(name), of_data);
    return {name};
  }
  if (read_file(file(name), kLargestTokenizer) != of_data)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: the run was begun with this tokenizer, and {} of its data is another one, so that "
                               "tokens would mean something else: put back the one that was changed, or begin another "
                               "run with --run",
                               printable(file(name), 4096), printable(corpus.tokenizer(), 4096)));
  return {name, true};
}

Config run_config(const std::string& run, std::span<const std::string> overrides, Notes* notes) {
  const std::string file = run_file(run, "config.toml");
  std::error_code ignored;
  if (is_there(file) && fs::is_empty(file, ignored))
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: this file is empty; remove it, and the settings that the newest "
                               "checkpoint stored are taken",
                               printable(file, 4096)));
  if (is_there(file)) return load_config(file, overrides, notes);
  const auto newest = newest_valid_checkpoint(run);
  if (!newest) refuse_no_run(run, RunUse::read);
  warn_on_stderr(fmt::format("{}: this file is not there any more; the settings are those that {} stored",
                             printable(file, 4096), printable(newest->path, 4096)));
  return checkpoint_config(newest->path, overrides, notes);
}

DataConfig data_of(const std::string& checkpoint, const std::string& advice) {
  return found_data(checkpoint_config(checkpoint).data, run_of(checkpoint), advice);
}

std::string tokenizer_file(const std::string& checkpoint) {
  return run_file(run_of(checkpoint), checkpoint_tokenizer(checkpoint));
}

std::unique_ptr<Tokenizer> tokenizer_of(const std::string& checkpoint) {
  const bool bytes = is_byte_tokenizer(checkpoint_tokenizer(checkpoint));
  const std::string file = bytes ? kByteTokenizer : tokenizer_file(checkpoint);
  auto tokenizer = open_tokenizer(file);
  const std::int64_t expected = checkpoint_config(checkpoint).model.vocabulary;
  if (tokenizer->vocabulary() != expected)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: this tokenizer has {} tokens, the model of {} has {}: copy the tokenizer of the "
                               "data there again",
                               file, tokenizer->vocabulary(), checkpoint, expected));
  return tokenizer;
}

std::optional<CheckpointInfo> newest_valid_checkpoint(const std::string& run) {
  const std::vector<CheckpointInfo> found = list_checkpoints(run + "/checkpoints");
  std::vector<std::string> reasons;
  for (const CheckpointInfo& checkpoint : found) {
    try {
      verify_checkpoint(checkpoint.path);
    } catch (const DamagedCheckpoint& error) {
      reasons.push_back(error.reason());
      continue;
    } catch (const SystemError& error) {
      if (!tells_of_damage(error)) throw;
      reasons.emplace_back(error.what());
      continue;
    } catch (const RunError& error) {
      reasons.emplace_back(error.what());
      continue;
    }
    for (const std::string& reason : reasons)
      warn_on_stderr(fmt::format("{}; using {} instead", reason, checkpoint.path));
    return checkpoint;
  }
  if (!found.empty())
    throw RunError(
        ExitCode::bad_data,
        fmt::format("{}: {} damaged ({}); train it again with: weir train {} --run FOLDER", printable(run, 4096),
                    found.size() == 1   ? "the only checkpoint is"
                    : found.size() == 2 ? "both checkpoints are"
                                        : fmt::format("all {} checkpoints are", found.size()),
                    reasons.front(), is_there(run + "/config.toml") ? shell_word(run + "/config.toml") : "PRESET"));
  return std::nullopt;
}

std::string resolve_checkpoint(const std::string& path) {
  if (is_there(path + "/MANIFEST.json")) return path;
  const std::string named = run_named(path), run = named.empty() ? path : named;
  if (const auto newest = newest_valid_checkpoint(run)) return newest->path;
  if (named.empty()) refuse_no_run(path, RunUse::read);
  throw RunError(ExitCode::bad_data, fmt::format("{}: this run has no checkpoint yet; train it with: {}",
                                                 printable(run, 4096), resume_command(run)));
}

}  // namespace weir
