#include "core/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/text.h"

namespace weir {
namespace {

constexpr std::size_t kPathLimit = 4096;

const char* advice(int error) {
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
    case ENAMETOOLONG:
      return "use a shorter name";
    case ENOMEM:
      return "free some memory";
    default:
      return "check the disk and its file system (dmesg)";
  }
}

[[noreturn]] void fail(const std::string& path, const std::string& action, int error) {
  throw RunError(ExitCode::io, fmt::format("{}: cannot {}: {}; {}", printable(path, kPathLimit), action,
                                           std::generic_category().message(error), advice(error)));
}

[[noreturn]] void fail(const std::string& path, const std::string& why) {
  throw RunError(ExitCode::io, fmt::format("{}: {}", printable(path, kPathLimit), why));
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
  ~Descriptor() { ::close(number); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

int open_retrying(const std::string& path, int flags) {
  check_path(path);
  int descriptor = -1;
  do descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

int open_for_reading(const std::string& path, int flags, struct stat& status) {
  const int descriptor = open_retrying(path, O_RDONLY | flags);
  if (descriptor < 0) fail(path, "open", errno);
  if (::fstat(descriptor, &status) == 0 && !S_ISDIR(status.st_mode)) return descriptor;
  const int error = errno;
  ::close(descriptor);
  if (S_ISDIR(status.st_mode)) fail(path, "this is a directory, expected a file; name a file");
  fail(path, "read its size", error);
}

int open_regular(const std::string& path, Empty empty, std::uint64_t& size) {
  struct stat status {};
  // Opening a pipe without O_NONBLOCK would wait for its writer before it can be refused.
  const int descriptor = open_for_reading(path, O_NONBLOCK, status);
  size = static_cast<std::uint64_t>(status.st_size);
  if (S_ISREG(status.st_mode) && (size > 0 || empty == Empty::allowed)) return descriptor;
  ::close(descriptor);
  if (!S_ISREG(status.st_mode)) fail(path, "this is a pipe or a device, expected a regular file; name a regular file");
  fail(path, "the file is empty; write it again");
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

// --- reading ------------------------------------------------------------------------------------------------------

std::string read_file(const std::string& path, std::uint64_t max_bytes, Empty empty) {
  struct stat status {};
  const Descriptor file(open_for_reading(path, 0, status));
  const auto too_large = [&] {
    fail(path,
         fmt::format("the file is larger than the {} bytes allowed here; check that it is the right file", max_bytes));
  };
  const auto claimed = static_cast<std::uint64_t>(status.st_size);
  if (claimed > max_bytes) too_large();
  std::string contents;
  contents.reserve(claimed);
  char piece[65536];
  for (;;) {
    const ssize_t n = ::read(file.number, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path, fmt::format("read after {} bytes", contents.size()), errno);
    if (n == 0) break;
    if (static_cast<std::uint64_t>(n) > max_bytes - contents.size()) too_large();
    contents.append(piece, static_cast<std::size_t>(n));
  }
  if (contents.empty() && empty == Empty::refused) fail(path, "the file is empty; write it again");
  return contents;
}

MappedFile::MappedFile(const std::string& path, Empty empty) : path_(path) {
  std::uint64_t size = 0;
  const Descriptor file(open_regular(path, empty, size));
  size_ = static_cast<std::size_t>(size);
  if (size_ == 0) return;
  void* const data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (data == MAP_FAILED) fail(path, fmt::format("map its {} bytes into memory", size_), errno);
  data_ = data;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

RandomAccessFile::RandomAccessFile(const std::string& path, Empty empty) : path_(path) {
  descriptor_ = open_regular(path, empty, size_);
}

RandomAccessFile::~RandomAccessFile() { ::close(descriptor_); }

void RandomAccessFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t n = ::pread(descriptor_, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path_, fmt::format("read at byte {}", offset), errno);
    if (n == 0)
      fail(path_, fmt::format("the file ends at byte {}, but had {} bytes when it was opened; it was cut meanwhile: "
                              "write it again",
                              offset, size_));
    offset += static_cast<std::uint64_t>(n);
    into = into.subspan(static_cast<std::size_t>(n));
  }
}

// --- writing ------------------------------------------------------------------------------------------------------

FileWriter::FileWriter(const std::string& path, const std::string& label)
    : path_(path), label_(label.empty() ? path : label) {
  check_path(path);
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::unlink(path.c_str()) != 0)
    fail(label_, "replace the old file", errno);
  descriptor_ = open_retrying(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
  if (descriptor_ < 0) fail(label_, "create the file", errno);
}

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
    if (n <= 0) fail(label_, fmt::format("write ({} of {} bytes done)", offset, target), n < 0 ? errno : ENOSPC);
    offset += static_cast<std::uint64_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void FileWriter::finish() {
  if (descriptor_ < 0) throw InternalError("a file was finished twice");
  sync_descriptor(descriptor_, label_, fmt::format("bring its {} bytes to the disk", written_));
  const int descriptor = std::exchange(descriptor_, -1);
  // After EINTR the descriptor is closed on Linux, and fsync has vouched for the contents.
  if (::close(descriptor) != 0 && errno != EINTR) {
    const int error = errno;
    ::unlink(path_.c_str());
    fail(label_, fmt::format("close the file after {} bytes", written_), error);
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

void sync_directory(const std::string& path) {
  const int descriptor = open_retrying(path, O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) fail(path, "open the directory", errno);
  const Descriptor directory(descriptor);
  sync_descriptor(descriptor, path, "bring the directory to the disk");
}

}  // namespace weir
