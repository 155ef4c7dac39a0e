// For LD_PRELOAD: one of a process's calls on the files below a folder fails.
//
//   WEIR_CALLS_BELOW=FOLDER   which files; a call without a path counts where its descriptor is of one of them
//   WEIR_CALLS_LOG=FILE       gets a line for each of these calls: its name, a space, the path
//   WEIR_FAULT="N KIND"       what happens at the N-th of them, from 1 on
//   WEIR_FAULT="N KIND on"    and at all later ones
//
// KIND is the number of an error, with which the call then ends, having done nothing (but close() closes); `short`,
// where a read or a write does half of what was asked; `before` or `after`, where the process is killed at that moment.
//
// Unlike `strace --inject` this can cut a write short, and passes over the calls of the dynamic loader.

// Large files: open and open64 are one name where this is defined, and both are defined here.
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>

namespace {

std::string setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

struct Fault {
  std::string folder = setting("WEIR_CALLS_BELOW") + "/", log = setting("WEIR_CALLS_LOG"), kind;
  long call = 0;
  bool goes_on = false;

  Fault() {
    char word[16] = "", on[3] = "";
    std::sscanf(setting("WEIR_FAULT").c_str(), "%ld %15s %2s", &call, word, on);
    kind = word;
    goes_on = *on != '\0';
  }
};

const Fault& fault() {
  static const Fault fault;
  return fault;
}

// libc's own.
template <class F>
F* original(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

std::string path_of(int descriptor) {
  char target[4096];
  const ssize_t length = ::readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), target, sizeof target);
  return length < 0 ? "" : std::string(target, static_cast<std::size_t>(length));
}

std::string path_of(int directory, const char* path) {
  return *path == '/' || directory == AT_FDCWD ? path : path_of(directory) + "/" + path;
}

void log_call(const char* name, const std::string& path) {
  const int log =
      original<int(const char*, int, ...)>("open")(fault().log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
  const std::string line = std::string(name) + " " + path + "\n";
  original<ssize_t(int, const void*, std::size_t)>("write")(log, line.data(), line.size());
  original<int(int)>("close")(log);
}

// Whether the fault is to happen at this call.
bool is_hit(const char* name, const std::string& path) {
  static std::atomic<long> calls;
  if (!path.starts_with(fault().folder)) return false;
  const long call = ++calls;
  if (!fault().log.empty()) log_call(name, path);
  return call == fault().call || (fault().goes_on && call > fault().call);
}

template <class Result>
Result failed(int error) {
  errno = error;
  if constexpr (std::is_same_v<Result, void*>)
    return MAP_FAILED;
  else if constexpr (std::is_pointer_v<Result>)
    return nullptr;
  else
    return -1;
}

// `call` is told whether it is to do half of what was asked.
template <class Call>
auto faulty(const char* name, const std::string& path, const Call& call) {
  using Result = std::invoke_result_t<Call, bool>;
  if (!is_hit(name, path)) return call(false);
  const std::string& kind = fault().kind;
  if (const int error = std::atoi(kind.c_str()); error > 0) {
    if (std::string(name) == "close") call(false);
    return failed<Result>(error);
  }
  if (kind == "before") ::kill(getpid(), SIGKILL);
  const Result result = call(kind == "short");
  if (kind == "after") ::kill(getpid(), SIGKILL);
  return result;
}

std::size_t part(std::size_t size, bool half) { return half ? (size + 1) / 2 : size; }

}  // namespace

// Under a name of its own, for libc's headers declare some with other types; `path` is what the call acts on.
#define FAULTY(Result, name, parameters, path, arguments)                                                    \
  extern "C" Result faulty_##name parameters __asm__(#name);                                                 \
  Result faulty_##name parameters {                                                                          \
    return faulty(#name, path,                                                                               \
                  [&]([[maybe_unused]] bool half) { return original<Result parameters>(#name) arguments; }); \
  }

// The mode is passed as if it were not an optional one.
FAULTY(int, open, (const char* path, int flags, mode_t mode), path, (path, flags, mode))
FAULTY(int, open64, (const char* path, int flags, mode_t mode), path, (path, flags, mode))
FAULTY(int, openat, (int at, const char* path, int flags, mode_t mode), path_of(at, path), (at, path, flags, mode))
FAULTY(int, openat64, (int at, const char* path, int flags, mode_t mode), path_of(at, path), (at, path, flags, mode))
FAULTY(int, fcntl64, (int file, int what, long value), path_of(file), (file, what, value))
FAULTY(int, close, (int file), path_of(file), (file))
FAULTY(int, flock, (int file, int what), path_of(file), (file, what))

FAULTY(ssize_t, read, (int file, void* into, std::size_t size), path_of(file), (file, into, part(size, half)))
FAULTY(ssize_t, pread64, (int file, void* into, std::size_t size, off64_t offset), path_of(file),
       (file, into, part(size, half), offset))
FAULTY(ssize_t, write, (int file, const void* from, std::size_t size), path_of(file), (file, from, part(size, half)))
FAULTY(ssize_t, pwrite64, (int file, const void* from, std::size_t size, off64_t offset), path_of(file),
       (file, from, part(size, half), offset))
FAULTY(void*, mmap64, (void* at, std::size_t size, int protection, int flags, int file, off64_t offset), path_of(file),
       (at, size, protection, flags, file, offset))
FAULTY(int, fsync, (int file), path_of(file), (file))
FAULTY(int, fdatasync, (int file), path_of(file), (file))
FAULTY(int, ftruncate64, (int file, off64_t size), path_of(file), (file, size))

FAULTY(int, stat, (const char* path, void* status), path, (path, status))
FAULTY(int, stat64, (const char* path, void* status), path, (path, status))
FAULTY(int, lstat, (const char* path, void* status), path, (path, status))
FAULTY(int, lstat64, (const char* path, void* status), path, (path, status))
FAULTY(int, fstat64, (int file, void* status), path_of(file), (file, status))
FAULTY(int, fstatat64, (int at, const char* path, void* status, int flags), path_of(at, path),
       (at, path, status, flags))
FAULTY(int, statvfs64, (const char* path, void* status), path, (path, status))
FAULTY(DIR*, fdopendir, (int file), path_of(file), (file))
FAULTY(dirent*, readdir, (DIR * folder), path_of(dirfd(folder)), (folder))
FAULTY(dirent*, readdir64, (DIR * folder), path_of(dirfd(folder)), (folder))

FAULTY(int, mkdir, (const char* path, mode_t mode), path, (path, mode))
FAULTY(int, rmdir, (const char* path), path, (path))
FAULTY(int, unlink, (const char* path), path, (path))
FAULTY(int, unlinkat, (int at, const char* path, int flags), path_of(at, path), (at, path, flags))
FAULTY(int, remove, (const char* path), path, (path))
FAULTY(int, rename, (const char* from, const char* to), from, (from, to))
FAULTY(int, renameat2, (int at, const char* from, int at_too, const char* to, unsigned flags), path_of(at, from),
       (at, from, at_too, to, flags))
