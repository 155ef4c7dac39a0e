// Files: reading whole or mapped, and writing so that a reader sees either the old contents or the new, even after a
// crash or a power cut. Every failure is a RunError that names the path, the reason and what to do: of
// ExitCode::io, where memory is refused of out_of_memory, and of bad_data for a file that is empty or too large.
//
// Every file that Weir opens, it opens here, for what stands at a path may not be what was put there: only regular
// files are opened (a pipe would keep its reader waiting for ever), and none is created or written to through a
// symbolic link.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "core/error.h"

namespace weir {

// A call of the system that failed with the number `error`: "PATH: cannot ACTION: why; what to do".
class SystemError : public RunError {
 public:
  SystemError(const std::string& path, const std::string& action, int error);
  int number() const { return number_; }

 private:
  int number_;
};

enum class Links { followed, themselves };

// Whether there is anything at that path. Throws where the system does not tell, for an error is no "no".
bool is_there(const std::string& path, Links links = Links::followed);

enum class Empty { refused, allowed };  // what to do with a file of zero bytes

// A whole regular file; refuses more than `max_bytes`.
std::string read_file(const std::string& path, std::uint64_t max_bytes, Empty empty = Empty::refused);

// What a user pipes or types, such as /dev/stdin: waits for its end, as `cat` does. Refuses devices that are no
// terminals, and more than `max_bytes`.
std::string read_stream(const std::string& path, std::uint64_t max_bytes);

// Which file there is and when it was changed last: one that was overwritten in place has another stamp.
struct FileStamp {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t modified_ns = 0, changed_ns = 0;  // contents; those, or the owner, the permissions, the names

  bool operator==(const FileStamp&) const = default;
};
FileStamp stamp_of(int descriptor);

// Whether that open file or folder is still what stands at `path`. Where the system does not tell, it has not been seen
// to change.
bool is_at(int descriptor, const std::string& path, Links links = Links::themselves);

// A regular file seen as memory, read-only. Others must not truncate the file meanwhile (a touch beyond its end kills
// the process); everything below replaces files instead, which leaves open maps intact.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path, Empty empty = Empty::refused);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  std::string path_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// A regular file open for reading at any place, from any thread. Where others truncate the file meanwhile, read() fails
// as it should, which a map cannot.
class RandomAccessFile {
 public:
  explicit RandomAccessFile(const std::string& path, Empty empty = Empty::refused);
  ~RandomAccessFile();
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }  // when it was opened
  FileStamp stamp() const { return stamp_of(descriptor_); }
  void read(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  friend class TemporaryFile;
  RandomAccessFile(std::string path, int descriptor, std::uint64_t size);

  std::string path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

// A file without a name in the folder for temporary files ($TMPDIR, else /tmp). It needs no tidying up: it is gone with
// the last object that has it open, even after a crash. Messages name `label`, whose contents it holds.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& label);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(std::span<const std::byte> bytes);
  std::unique_ptr<const RandomAccessFile> finish();  // what was written, for reading; once

 private:
  [[noreturn]] void fail(const std::string& action, int error) const;

  std::string label_, folder_;
  int descriptor_ = -1;
  std::uint64_t written_ = 0;
};

// Descriptors for those who write in their own way. A new and empty file, for writing; an existing regular file makes
// way, anything else in its place is refused.
int create_file(const std::string& path);
// An existing regular file or a new one, for appending or for locking. Refuses anything else, symbolic links as well.
int open_to_append(const std::string& path);
int open_to_lock(const std::string& path);

// Refuses what a file must not be put in place of: anything that is there and is no regular file.
void check_replaceable(const std::string& path);

// A file written piece by piece. An existing regular file makes way, anything else in its place is refused. Without
// finish() the file is removed again. The directory entry becomes durable with sync_directory.
class FileWriter {
 public:
  // Messages name `label`; by default the path.
  explicit FileWriter(const std::string& path, const std::string& label = "");
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::span<const std::byte> bytes);
  void overwrite(std::uint64_t offset, std::span<const std::byte> bytes);  // of what was written before
  void finish();                                                           // contents to the disk, then close

 private:
  std::string path_, label_;
  int descriptor_ = -1;
  std::uint64_t written_ = 0;  // bytes
};

// One FileWriter from start to finish: for files in a directory that is itself put in place by a rename.
void write_file_synced(const std::string& path, std::span<const std::byte> bytes);
void write_file_synced(const std::string& path, std::string_view text);

// Written beside the target as .NAME.tmp-PID, synced, renamed over the target, the directory synced. Whatever fails,
// the target keeps its old contents and the temporary file is gone. A target that is no regular file is refused.
void write_file_atomically(const std::string& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::string& path, std::string_view text);

// The two halves of that, for a file whose pieces come one after the other: where to write it, and the move.
std::string temporary_name(const std::string& path);
void put_in_place(const std::string& temporary, const std::string& path);

// What the file system of `path` has left for this user.
std::uint64_t free_bytes(const std::string& path);

// Makes names created, renamed or removed in that directory durable.
void sync_directory(const std::string& path);

// Creates a directory and those above it that are missing, each durable. One that is there already is no error.
std::error_code make_directories(const std::string& path);

}  // namespace weir
