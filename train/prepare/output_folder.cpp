#include "train/prepare/output_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& path, const std::string& action, const std::error_code& error) {
  throw RunError(ExitCode::io,
                 fmt::format("{}: cannot {}: {}; check the permissions, or name another folder with --out",
                             printable(path, 4096), action, error.message()));
}

// PREFIX and the number of a process that is no more.
bool is_left_over(const std::string& name, const std::string& prefix) {
  if (!name.starts_with(prefix)) return false;
  const char* const begin = name.data() + prefix.size();
  const char* const end = name.data() + name.size();
  pid_t process = 0;
  const auto [rest, error] = std::from_chars(begin, end, process);
  return error == std::errc() && rest == end && process > 0 && ::kill(process, 0) != 0 && errno == ESRCH;
}

void remove_left_overs(const std::string& parent, const std::string& prefix) {
  std::vector<fs::path> doomed;
  for (const auto& entry : fs::directory_iterator(parent))
    if (is_left_over(entry.path().filename().string(), prefix)) doomed.push_back(entry.path());
  std::error_code ignored;
  for (const fs::path& path : doomed) fs::remove_all(path, ignored);
}

}  // namespace

OutputFolder::OutputFolder(const std::string& path, bool replace) {
  const fs::path target = fs::path(path).lexically_normal();
  const fs::path trimmed = target.has_filename() ? target : target.parent_path();  // without a slash at the end
  const std::string name = trimmed.filename().string();
  if (name.empty() || name == "." || name == "..")
    throw ArgumentError(fmt::format("--out: {} is no name for a new folder", quote_short(path)));
  target_ = trimmed.string();
  parent_ = trimmed.has_parent_path() ? trimmed.parent_path().string() : ".";
  const std::string prefix = fmt::format(".{}.tmp-", name);
  temporary_ = fmt::format("{}/{}{}", parent_, prefix, ::getpid());

  std::error_code error;
  if (fs::exists(fs::symlink_status(target_, error))) {
    if (!fs::is_regular_file(fs::path(target_) / "dataset.json", error))
      throw ArgumentError(
          fmt::format("{}: this is there already and is no prepared data set; name another folder with "
                      "--out",
                      printable(target_, 4096)));
    if (!replace)
      throw ArgumentError(
          fmt::format("{}: this data set is there already; prepare it again with --force, or name "
                      "another folder with --out",
                      printable(target_, 4096)));
  }
  error.clear();
  fs::create_directories(parent_, error);
  if (error) fail(parent_, "create the folder", error);
  remove_left_overs(parent_, prefix);
  if (!fs::create_directory(temporary_, error) || error)
    fail(parent_, "create a folder in it", error ? error : std::make_error_code(std::errc::file_exists));
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

std::uint64_t OutputFolder::free_bytes() const {
  struct statvfs status {};
  if (::statvfs(temporary_.c_str(), &status) != 0)
    fail(parent_, "ask for its free space", std::error_code(errno, std::generic_category()));
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

void OutputFolder::commit() {
  sync_directory(temporary_);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    // An earlier data set is there: they change places, and the destructor removes it.
    if (errno != ENOTEMPTY && errno != EEXIST)
      fail(target_, "put the data set in place", std::error_code(errno, std::generic_category()));
    if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) != 0)
      fail(target_, "replace the data set", std::error_code(errno, std::generic_category()));
  }
  sync_directory(parent_);
}

}  // namespace weir
