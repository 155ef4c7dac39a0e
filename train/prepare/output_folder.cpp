#include "train/prepare/output_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/owned_folder.h"
#include "core/text.h"
#include "train/dataset.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& path, const std::string& action, const std::error_code& error) {
  throw RunError(ExitCode::io,
                 fmt::format("{}: cannot {}: {}; check the permissions, or name another folder with --out",
                             printable(path, 4096), action, error.message()));
}

// What `weir prepare` writes into a folder, whole or not yet.
bool is_ours(const std::string& name) {
  const std::string whole = named_temporarily(name).value_or(name);
  return whole == "dataset.json" || whole == "tokenizer.model" || whole == "tokenizer.json" ||
         whole.ends_with(".tokens");
}

// The files that a data set's own description names. Without it nothing can be told.
IsOurs files_of(const std::string& folder) {
  Dataset dataset;
  try {
    dataset = read_dataset(folder);
  } catch (const RunError&) {
    throw RunError(
        ExitCode::bad_data,
        fmt::format("{}: its dataset.json is damaged, so it cannot be told what in this folder belongs to the "
                    "data set; remove the folder yourself, or name another with --out",
                    printable(folder, 4096)));
  }
  std::set<std::string> names = {"dataset.json", dataset.tokenizer};
  for (const auto& [name, split] : dataset.splits)
    for (const Shard& shard : split.shards) names.insert(shard.file);
  return [names](const std::string& name) { return names.contains(name); };
}

// Removes what killed processes left: .NAME.tmp-PID, unlocked, with nothing but files of ours.
void remove_left_overs(const std::string& parent, const std::string& name) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end; entry.increment(error))
    if (named_temporarily(entry->path().filename().string()) == name) found.push_back(entry->path().string());
  for (const std::string& path : found) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0) continue;
    const bool busy = ::flock(descriptor, LOCK_EX | LOCK_NB) != 0;
    if (!busy) OwnedFolder(path).remove(is_ours);
    ::close(descriptor);
    if (busy)
      throw RunError(ExitCode::io,
                     fmt::format("{}/{}: another process is preparing this data set; wait for it, or name "
                                 "another folder with --out",
                                 printable(parent, 4096), printable(name)));
  }
}

}  // namespace

OutputFolder::OutputFolder(const std::string& path, bool replace) : replace_(replace) {
  const fs::path target = fs::path(path).lexically_normal();
  const fs::path trimmed = target.has_filename() ? target : target.parent_path();  // without a slash at the end
  const std::string name = trimmed.filename().string();
  if (name.empty() || name == "." || name == "..")
    throw ArgumentError(fmt::format("--out: {} is no name for a new folder", quote_short(path)));
  target_ = trimmed.string();
  parent_ = trimmed.has_parent_path() ? trimmed.parent_path().string() : ".";
  temporary_ = fmt::format("{}/.{}.tmp-{}", parent_, name, ::getpid());
  check_target();
  make_parent();
  remove_left_overs(parent_, name);
  std::error_code error;
  if (!fs::create_directory(temporary_, error) || error)
    fail(parent_, "create a folder in it", error ? error : std::make_error_code(std::errc::file_exists));
  lock_ = ::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (lock_ >= 0) ::flock(lock_, LOCK_EX | LOCK_NB);
}

void OutputFolder::check_target() const {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(target_, error);
  if (status.type() == fs::file_type::not_found) return;
  if (status.type() != fs::file_type::directory || !fs::is_regular_file(fs::path(target_) / "dataset.json", error))
    throw ArgumentError(
        fmt::format("{}: this is there already and is no prepared data set; name another folder with "
                    "--out",
                    printable(target_, 4096)));
  if (!replace_)
    throw ArgumentError(
        fmt::format("{}: this data set is there already; prepare it again with --force, or name "
                    "another folder with --out",
                    printable(target_, 4096)));
  if (const auto stranger = OwnedFolder(target_).stranger(files_of(target_)))
    throw ArgumentError(
        fmt::format("{}: {} is in this folder and no part of the data set, so --force would lose it; move it away, or "
                    "name another folder with --out",
                    printable(target_, 4096), quote_short(*stranger)));
}

void OutputFolder::make_parent() {
  std::error_code error;
  for (fs::path folder = parent_; !folder.empty() && !fs::exists(folder, error); folder = folder.parent_path())
    made_.push_back(folder.string());
  error = make_directories(parent_);
  if (error) fail(parent_, "create the folder", error);
}

OutputFolder::~OutputFolder() {
  OwnedFolder(temporary_).remove(is_ours);
  if (lock_ >= 0) ::close(lock_);
  std::error_code ignored;
  for (const std::string& folder : made_) fs::remove(folder, ignored);  // where nothing is in it
}

std::uint64_t OutputFolder::free_bytes() const { return weir::free_bytes(temporary_); }

void OutputFolder::commit() {
  sync_directory(temporary_);
  put_in_place();
  sync_directory(parent_);
}

// An earlier data set changes places with this one, and goes.
void OutputFolder::put_in_place() const {
  const auto rename = [&](unsigned int how) {
    return ::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), how) == 0;
  };
  if (rename(RENAME_NOREPLACE)) return;
  if (errno == EINVAL && ::rename(temporary_.c_str(), target_.c_str()) == 0) return;  // a file system without the flag
  if (errno != ENOTEMPTY && errno != EEXIST)
    fail(target_, "put the data set in place", std::error_code(errno, std::generic_category()));
  if (!replace_)
    throw RunError(ExitCode::io, fmt::format("{}: this was put there while the data set was prepared, and stays; name "
                                             "another folder with --out",
                                             printable(target_, 4096)));
  check_target();
  if (!rename(RENAME_EXCHANGE)) fail(target_, "replace the data set", std::error_code(errno, std::generic_category()));
  OwnedFolder(temporary_).remove(files_of(temporary_));
}

}  // namespace weir
