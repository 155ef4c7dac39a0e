#include "core/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/text.h"

namespace weir {
namespace {

constexpr std::size_t kPathLimit = 4096;

const char* advice(const std::string& path, int error) {
  std::error_code ignored;
  if (error == ENOENT && std::filesystem::is_symlink(std::filesystem::symlink_status(path, ignored)))
    return "this symbolic link leads to nothing: correct it, or name a file";
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return "check the path and that its directory exists";
    case EACCES:
    case EPERM:
      return "check the permissions of the file and of its directory, or use another place";
    case EROFS:
      return "the file system is read-only: use another place";
    case ENOSPC:
    case EDQUOT:
      return "free some space or use another place";
    case EFBIG:
      return "raise the file size limit (ulimit -f) or use another file system";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case EEXIST:
    case EISDIR:
    case ENOTEMPTY:
      return "something other than a regular file is in the way: remove it or use another name";
    case ELOOP:
      return "a symbolic link leads back to itself: remove it, or name the file that was meant";
    case ENXIO:
      return "this is a socket or a device that is not there: name a regular file";
    case ENAMETOOLONG:
      return "use a shorter name";
    case ENOMEM:
      return "free some memory";
    default:
      return "check the disk and its file system (dmesg)";
  }
}

[[noreturn]] void fail(const std::string& path, const std::string& action, int error) {
  throw SystemError(path, action, error);
}

[[noreturn]] void fail(const std::string& path, const std::string& why, ExitCode code = ExitCode::io) {
  throw RunError(code, fmt::format("{}: {}", printable(path, kPathLimit), why));
}

[[noreturn]] void fail_empty(const std::string& path) {
  fail(path, "the file is empty; check that it is the right one, or copy it here again", ExitCode::bad_data);
}

// The system would silently use only what comes before a zero byte.
void check_path(const std::string& path) {
  if (path.empty()) fail("''", "the path is empty; name a file");
  if (path.find('\0') != std::string::npos) fail(path, "the path contains a zero byte; use another name");
}

// Closes on every way out; for reading, where nobody needs the result of close.
struct Descriptor {
  int number;
  explicit Descriptor(int n) : number(n) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int release() { return std::exchange(number, -1); }
};

int open_retrying(const std::string& path, int flags) {
  check_path(path);
  int descriptor = -1;
  do descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "directory";
  if (S_ISFIFO(mode)) return "pipe";
  if (S_ISLNK(mode)) return "symbolic link";
  return S_ISSOCK(mode) ? "socket" : "device";
}

// A user named it, or it stands in a folder of ours in the place of a file; but a device, or a pipe of the shell as in
// <(zcat FILE), is there to be named.
const char* advice_to_read(const std::string& path, mode_t mode) {
  if (!path.starts_with("/dev/") && !path.starts_with("/proc/"))
    return "name a regular file, or move this away if it took the place of one";
  return S_ISFIFO(mode) ? "write what comes out of it to a file, and name that" : "name a regular file";
}

[[noreturn]] void refuse_to_read(const std::string& path, mode_t mode) {
  fail(path, fmt::format("this is a {}, expected a regular file; {}", kind_of(mode), advice_to_read(path, mode)));
}

[[noreturn]] void refuse_to_write(const std::string& path, mode_t mode) {
  fail(path, fmt::format("this is a {}, where a regular file is to be written; move it away, or use another place",
                         kind_of(mode)));
}

struct stat status_of(const Descriptor& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.number, &status) != 0) fail(path, "read its size", errno);
  return status;
}

int look_at(const std::string& path, Links links, struct stat& status) {
  return (links == Links::followed ? ::stat : ::lstat)(path.c_str(), &status);
}

// Opens what is a regular file, or is to become one. Without O_NONBLOCK the open of a pipe would wait for its other end
// before it can be refused; and a terminal must not become the one that controls this process.
int open_regular(const std::string& path, int flags) {
  const auto refuse = (flags & O_ACCMODE) == O_RDONLY ? refuse_to_read : refuse_to_write;
  Descriptor file(open_retrying(path, flags | O_NONBLOCK | O_NOCTTY));
  if (file.number < 0) {
    const int error = errno;
    struct stat status {};
    const bool there = look_at(path, (flags & O_NOFOLLOW) != 0 ? Links::themselves : Links::followed, status) == 0;
    if (there && !S_ISREG(status.st_mode) && error != EACCES) refuse(path, status.st_mode);
    fail(path, "open", error);
  }
  const mode_t mode = status_of(file, path).st_mode;
  if (!S_ISREG(mode)) refuse(path, mode);
  if (const int status = ::fcntl(file.number, F_GETFL); status >= 0)
    ::fcntl(file.number, F_SETFL, status & ~O_NONBLOCK);
  return file.release();
}

int open_to_read(const std::string& path, Empty empty, std::uint64_t& size) {
  Descriptor file(open_regular(path, O_RDONLY));
  size = static_cast<std::uint64_t>(status_of(file, path).st_size);
  if (size == 0 && empty == Empty::refused) fail_empty(path);
  return file.release();
}

std::string read_to_end(const Descriptor& file, const std::string& path, std::uint64_t claimed,
                        std::uint64_t max_bytes) {
  const auto too_large = [&] {
    fail(path,
         fmt::format("the file is larger than the {} bytes allowed here; check that it is the right file", max_bytes),
         ExitCode::bad_data);
  };
  if (claimed > max_bytes) too_large();
  std::string contents;
  contents.reserve(claimed);
  char piece[65536];
  for (;;) {
    const ssize_t n = ::read(file.number, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path, "read after " + counted(contents.size(), "byte"), errno);
    if (n == 0) return contents;
    if (static_cast<std::uint64_t>(n) > max_bytes - contents.size()) too_large();
    contents.append(piece, static_cast<std::size_t>(n));
  }
}

void sync_descriptor(int descriptor, const std::string& label, const std::string& action) {
  int result = -1;
  do result = ::fsync(descriptor);
  while (result != 0 && errno == EINTR);
  if (result != 0) fail(label, action, errno);
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace

SystemError::SystemError(const std::string& path, const std::string& action, int error)
    : RunError(
          error == ENOMEM ? ExitCode::out_of_memory : ExitCode::io,
          fmt::format("{}: {}cannot {}: {}; {}", printable(path, kPathLimit), error == ENOMEM ? "out of memory: " : "",
                      action, std::generic_category().message(error), advice(path, error))),
      number_(error) {}

bool is_there(const std::string& path, Links links) {
  struct stat status {};
  if (look_at(path, links, status) == 0) return true;
  if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG) fail(path, "look for it", errno);
  return false;
}

// --- reading ------------------------------------------------------------------------------------------------------

std::string read_file(const std::string& path, std::uint64_t max_bytes, Empty empty) {
  std::uint64_t size = 0;
  const Descriptor file(open_to_read(path, Empty::allowed, size));  // some of /proc say 0 and have contents
  std::string contents = read_to_end(file, path, size, max_bytes);
  if (contents.empty() && empty == Empty::refused) fail_empty(path);
  return contents;
}

std::string read_stream(const std::string& path, std::uint64_t max_bytes) {
  const Descriptor file(open_retrying(path, O_RDONLY | O_NOCTTY));
  if (file.number < 0) fail(path, "open", errno);
  const mode_t mode = status_of(file, path).st_mode;
  if (!S_ISREG(mode) && !S_ISFIFO(mode) && ::isatty(file.number) != 1) refuse_to_read(path, mode);
  std::string contents = read_to_end(file, path, 0, max_bytes);
  if (contents.empty()) fail_empty(path);
  return contents;
}

FileStamp stamp_of(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return {};
  const auto nanoseconds = [](const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; };
  return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size), nanoseconds(status.st_mtim),
          nanoseconds(status.st_ctim)};
}

bool is_at(int descriptor, const std::string& path, Links links) {
  struct stat open {
  }, there{};
  if (::fstat(descriptor, &open) != 0) return true;
  if (look_at(path, links, there) != 0) return errno != ENOENT && errno != ENOTDIR;
  return open.st_dev == there.st_dev && open.st_ino == there.st_ino;
}

MappedFile::MappedFile(const std::string& path, Empty empty) : path_(path) {
  std::uint64_t size = 0;
  const Descriptor file(open_to_read(path, empty, size));
  size_ = static_cast<std::size_t>(size);
  if (size_ == 0) return;
  void* const data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (data == MAP_FAILED) fail(path, fmt::format("map its {} into memory", counted(size_, "byte")), errno);
  data_ = data;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

RandomAccessFile::RandomAccessFile(const std::string& path, Empty empty) : path_(path) {
  descriptor_ = open_to_read(path, empty, size_);
}

RandomAccessFile::~RandomAccessFile() { ::close(descriptor_); }

void RandomAccessFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t n = ::pread(descriptor_, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path_, fmt::format("read at byte {}", offset), errno);
    if (n == 0)
      fail(path_,
           fmt::format("the file has {} now, but had {} when it was opened; it was cut meanwhile: put it back and "
                       "start again",
                       counted(std::min(stamp().size, offset), "byte"), size_));
    offset += static_cast<std::uint64_t>(n);
    into = into.subspan(static_cast<std::size_t>(n));
  }
}

RandomAccessFile::RandomAccessFile(std::string path, int descriptor, std::uint64_t size)
    : path_(std::move(path)), descriptor_(descriptor), size_(size) {}

TemporaryFile::TemporaryFile(const std::string& label) : label_(label) {
  const char* const named = std::getenv("TMPDIR");
  folder_ = named != nullptr && *named != '\0' ? named : "/tmp";
  std::string name = folder_ + "/weir-XXXXXX";
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) fail("create it", errno);
  ::unlink(name.c_str());
}

TemporaryFile::~TemporaryFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void TemporaryFile::fail(const std::string& action, int error) const {
  weir::fail(label_,
             fmt::format("cannot be kept in a temporary file in {}: cannot {}: {}; {}name another folder with the "
                         "environment variable TMPDIR",
                         printable(folder_, kPathLimit), action, std::generic_category().message(error),
                         error == ENOSPC || error == EDQUOT ? "free some space there, or " : ""));
}

void TemporaryFile::write(std::span<const std::byte> bytes) {
  if (descriptor_ < 0) throw InternalError("a temporary file was written to after it was finished");
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("write after " + counted(written_, "byte"), n < 0 ? errno : ENOSPC);
    written_ += static_cast<std::uint64_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

std::unique_ptr<const RandomAccessFile> TemporaryFile::finish() {
  if (descriptor_ < 0) throw InternalError("a temporary file was finished twice");
  return std::unique_ptr<const RandomAccessFile>(
      new RandomAccessFile(label_, std::exchange(descriptor_, -1), written_));
}

// --- writing ------------------------------------------------------------------------------------------------------

namespace {

int create_file(const std::string& path, const std::string& label) {
  check_path(path);
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!S_ISREG(status.st_mode)) refuse_to_write(label, status.st_mode);
    if (::unlink(path.c_str()) != 0) fail(label, "replace the old file", errno);
  }
  const int descriptor = open_retrying(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
  if (descriptor < 0) fail(label, "create the file", errno);
  return descriptor;
}

}  // namespace

int create_file(const std::string& path) { return create_file(path, path); }

int open_to_append(const std::string& path) { return open_regular(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW); }

int open_to_lock(const std::string& path) { return open_regular(path, O_RDWR | O_CREAT | O_NOFOLLOW); }

void check_replaceable(const std::string& path) {
  check_path(path);
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) refuse_to_write(path, status.st_mode);
}

FileWriter::FileWriter(const std::string& path, const std::string& label)
    : path_(path), label_(label.empty() ? path : label), descriptor_(create_file(path_, label_)) {}

FileWriter::~FileWriter() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(path_.c_str());
}

void FileWriter::write(std::span<const std::byte> bytes) {
  const std::uint64_t begin = written_;
  written_ += bytes.size();
  overwrite(begin, bytes);
}

void FileWriter::overwrite(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (descriptor_ < 0) throw InternalError("a file was written to after it was finished");
  if (offset + bytes.size() > written_) throw InternalError("a file was to be overwritten beyond its end");
  const std::uint64_t target = offset + bytes.size();
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      fail(label_, fmt::format("write ({} of {} done)", offset, counted(target, "byte")), n < 0 ? errno : ENOSPC);
    offset += static_cast<std::uint64_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void FileWriter::finish() {
  if (descriptor_ < 0) throw InternalError("a file was finished twice");
  sync_descriptor(descriptor_, label_, fmt::format("bring its {} to the disk", counted(written_, "byte")));
  const int descriptor = std::exchange(descriptor_, -1);
  // After EINTR the descriptor is closed on Linux, and fsync has vouched for the contents.
  if (::close(descriptor) != 0 && errno != EINTR) {
    const int error = errno;
    ::unlink(path_.c_str());
    fail(label_, fmt::format("close the file after {}", counted(written_, "byte")), error);
  }
}

void write_file_synced(const std::string& path, std::span<const std::byte> bytes) {
  FileWriter writer(path);
  writer.write(bytes);
  writer.finish();
}

void write_file_synced(const std::string& path, std::string_view text) { write_file_synced(path, bytes_of(text)); }

void write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  const std::string temporary = temporary_name(path);
  check_replaceable(path);
  FileWriter writer(temporary, path);
  writer.write(bytes);
  writer.finish();
  put_in_place(temporary, path);
}

void write_file_atomically(const std::string& path, std::string_view text) {
  write_file_atomically(path, bytes_of(text));
}

std::string temporary_name(const std::string& path) {
  check_path(path);
  const std::string name = path.substr(path.rfind('/') + 1);
  if (name.empty()) fail(path, "the path names no file; add a file name");
  return fmt::format("{}/.{}.tmp-{}", directory_of(path), name, ::getpid());
}

void put_in_place(const std::string& temporary, const std::string& path) {
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail(path, "put the file that was written in place", error);
  }
  sync_directory(directory_of(path));
}

std::uint64_t free_bytes(const std::string& path) {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) fail(path, "ask for the free space", errno);
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

void sync_directory(const std::string& path) {
  const int descriptor = open_retrying(path, O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) fail(path, "open the directory", errno);
  const Descriptor directory(descriptor);
  sync_descriptor(descriptor, path, "bring the directory to the disk");
}

std::error_code make_directories(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<std::string> parents;  // of those that are missing
  for (fs::path folder = fs::path(path).lexically_normal(); !folder.empty() && !fs::exists(folder, error);
       folder = folder.parent_path())
    parents.push_back(folder.has_parent_path() ? folder.parent_path().string() : ".");
  fs::create_directories(path, error);
  if (error) return error;
  for (const std::string& parent : parents) sync_directory(parent);
  return {};
}

}  // namespace weir
