// Large files: open and open64 are one name where this is defined, and both are defined here.
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include "recorded_calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <optional>

namespace weir {
namespace {

std::string folder;  // empty: nothing is recorded
std::vector<Call> calls;

// libc's own.
template <class F>
F* original(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

std::string path_of(int descriptor) {
  char target[4096];
  const ssize_t length = ::readlink(fmt::format("/proc/self/fd/{}", descriptor).c_str(), target, sizeof target);
  return length < 0 ? "" : std::string(target, static_cast<std::size_t>(length));
}

// The part below the folder; nothing for what is elsewhere.
std::optional<std::string> below(const std::string& path) {
  if (folder.empty() || !path.starts_with(folder)) return std::nullopt;
  if (path.size() == folder.size()) return "";
  return path[folder.size()] == '/' ? std::optional(path.substr(folder.size() + 1)) : std::nullopt;
}

std::optional<std::string> below(int directory, const char* path) {
  if (*path == '/' || directory == AT_FDCWD) return below(std::string(path));
  return below(path_of(directory) + "/" + path);
}

void record(Call::Kind kind, const std::optional<std::string>& path, std::uint64_t offset = 0, std::string data = "",
            const std::string& target = "") {
  if (path) calls.push_back({kind, *path, target, offset, std::move(data)});
}

int open_recorded(const char* name, int directory, const char* path, int flags, mode_t mode) {
  struct stat status {};
  const bool existed = ::fstatat(directory, path, &status, 0) == 0;
  const int descriptor = original<int(int, const char*, int, ...)>(name)(directory, path, flags, mode);
  if (descriptor >= 0 && (flags & O_CREAT) != 0 && (!existed || (flags & O_TRUNC) != 0))
    record(Call::Kind::create, below(directory, path));
  return descriptor;
}

void record_write(int descriptor, const void* data, ssize_t written, off_t offset) {
  if (written > 0)
    record(Call::Kind::write, below(path_of(descriptor)), static_cast<std::uint64_t>(offset),
           std::string(static_cast<const char*>(data), static_cast<std::size_t>(written)));
}

int rename_recorded(const char* from, const char* to, unsigned flags) {
  const int result =
      original<int(int, const char*, int, const char*, unsigned)>("renameat2")(AT_FDCWD, from, AT_FDCWD, to, flags);
  if (result == 0)
    record((flags & RENAME_EXCHANGE) != 0 ? Call::Kind::exchange : Call::Kind::rename, below(std::string(from)), 0, "",
           below(std::string(to)).value_or(""));
  return result;
}

int remove_recorded(int directory, const char* path, int flags) {
  const auto relative = below(directory, path);
  const int result = original<int(int, const char*, int)>("unlinkat")(directory, path, flags);
  if (result == 0) record(Call::Kind::remove, relative);
  return result;
}

mode_t mode_of(int flags, va_list arguments) { return (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0; }

}  // namespace

void start_recording(const std::string& root) {
  calls.clear();
  folder = root;
}

void acknowledge(std::int64_t step) { record(Call::Kind::acknowledge, "", static_cast<std::uint64_t>(step)); }

std::vector<Call> stop_recording() {
  folder.clear();
  return std::move(calls);
}

}  // namespace weir

using namespace weir;

extern "C" {

int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_recorded("openat", directory, path, flags, mode);
}

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_recorded("openat", AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_recorded("openat", AT_FDCWD, path, flags, mode);
}

ssize_t write(int descriptor, const void* data, std::size_t size) {
  const off_t offset = folder.empty() ? 0 : ::lseek(descriptor, 0, SEEK_CUR);
  const ssize_t written = original<ssize_t(int, const void*, std::size_t)>("write")(descriptor, data, size);
  if (!folder.empty()) record_write(descriptor, data, written, offset);
  return written;
}

ssize_t pwrite64(int descriptor, const void* data, std::size_t size, off64_t offset) {
  const ssize_t written =
      original<ssize_t(int, const void*, std::size_t, off64_t)>("pwrite64")(descriptor, data, size, offset);
  if (!folder.empty()) record_write(descriptor, data, written, offset);
  return written;
}

ssize_t pwrite(int descriptor, const void* data, std::size_t size, off_t offset) {
  return ::pwrite64(descriptor, data, size, offset);
}

int ftruncate64(int descriptor, off64_t size) {
  const int result = original<int(int, off64_t)>("ftruncate64")(descriptor, size);
  if (result == 0 && !folder.empty())
    record(Call::Kind::resize, below(path_of(descriptor)), static_cast<std::uint64_t>(size));
  return result;
}

int ftruncate(int descriptor, off_t size) { return ::ftruncate64(descriptor, size); }

// The disk of this machine is not what is tried, so nothing has to wait for it.
int fsync(int descriptor) {
  record(Call::Kind::sync, below(path_of(descriptor)));
  return 0;
}

int fdatasync(int descriptor) { return ::fsync(descriptor); }

int rename(const char* from, const char* to) { return rename_recorded(from, to, 0); }

int renameat2(int, const char* from, int, const char* to, unsigned flags) { return rename_recorded(from, to, flags); }

int mkdir(const char* path, mode_t mode) {
  const int result = original<int(const char*, mode_t)>("mkdir")(path, mode);
  if (result == 0) record(Call::Kind::make_directory, below(AT_FDCWD, path));
  return result;
}

int unlink(const char* path) { return remove_recorded(AT_FDCWD, path, 0); }

int rmdir(const char* path) { return remove_recorded(AT_FDCWD, path, AT_REMOVEDIR); }

int unlinkat(int directory, const char* path, int flags) { return remove_recorded(directory, path, flags); }

int remove(const char* path) {
  const int result = ::unlink(path);
  return result == 0 || errno != EISDIR ? result : ::rmdir(path);
}

}  // extern "C"
