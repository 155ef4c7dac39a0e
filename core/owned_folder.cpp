#include "core/owned_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

namespace weir {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

template <class Call>
auto retried(const Call& call) {
  for (;;)
    if (const auto result = call(); result != -1 || errno != EINTR) return result;
}

std::size_t read_whole(int file, std::span<char> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t n =
        retried([&] { return ::pread(file, into.data() + done, into.size() - done, static_cast<off_t>(done)); });
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace

OwnedFolder::OwnedFolder(std::string path)
    : path_(std::move(path)),
      descriptor_(retried([&] { return ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); })) {}

OwnedFolder::~OwnedFolder() {
  if (open()) ::close(descriptor_);
}

std::vector<std::string> OwnedFolder::entries() const {
  std::vector<std::string> names;
  // closedir() closes it.
  const int again = retried([&] { return ::openat(descriptor_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  const std::unique_ptr<DIR, CloseFolder> folder(again < 0 ? nullptr : ::fdopendir(again));
  if (folder == nullptr) return {"."};
  while (const dirent* const entry = ::readdir(folder.get()))
    if (const std::string name = entry->d_name; name != "." && name != "..") names.push_back(name);
  return names;
}

bool OwnedFolder::takes(const std::string& name, const IsOurs& is_ours) const {
  struct stat status {};
  return ::fstatat(descriptor_, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
         is_ours(name);
}

std::optional<std::string> OwnedFolder::stranger(const IsOurs& is_ours) const {
  for (const std::string& name : entries())
    if (!takes(name, is_ours)) return name;
  return std::nullopt;
}

std::optional<std::string> OwnedFolder::read(const std::string& name, std::uint64_t max_bytes) const {
  if (!open()) return std::nullopt;
  const int file =
      retried([&] { return ::openat(descriptor_, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); });
  if (file < 0) return std::nullopt;
  struct stat status {};
  std::string contents;
  bool whole =
      ::fstat(file, &status) == 0 && S_ISREG(status.st_mode) && static_cast<std::uint64_t>(status.st_size) <= max_bytes;
  if (whole) {
    contents.resize(static_cast<std::size_t>(status.st_size));
    whole = read_whole(file, contents) == contents.size();
  }
  ::close(file);
  return whole ? std::optional(contents) : std::nullopt;
}

bool OwnedFolder::remove(const IsOurs& is_ours, const std::string& last) const {
  std::vector<std::string> names = entries();
  const auto taken = [&](const std::string& name) { return takes(name, is_ours); };
  if (!open() || !std::all_of(names.begin(), names.end(), taken)) return false;
  std::partition(names.begin(), names.end(), [&](const std::string& name) { return name != last; });
  for (const std::string& name : names)
    if (::unlinkat(descriptor_, name.c_str(), 0) != 0) return false;
  return ::rmdir(path_.c_str()) == 0;
}

std::optional<std::string> named_temporarily(std::string_view name) {
  const std::size_t mark = name.rfind(".tmp-");
  if (!name.starts_with('.') || mark == std::string_view::npos || mark < 2) return std::nullopt;
  const std::string_view process = name.substr(mark + 5);
  const bool digits =
      !process.empty() && std::all_of(process.begin(), process.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::optional(std::string(name.substr(1, mark - 1))) : std::nullopt;
}

}  // namespace weir
