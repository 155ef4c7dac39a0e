// Files: reading whole or mapped, and writing so that a reader sees either the old contents or the new, even after a
// crash or a power cut. Every failure is a RunError(ExitCode::io) naming the path, the reason and what to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir {

enum class Empty { refused, allowed };  // what to do with a file of zero bytes

// The whole file, or pipe; refuses more than `max_bytes`.
std::string read_file(const std::string& path, std::uint64_t max_bytes, Empty empty = Empty::refused);

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
  void read(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

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
// the target keeps its old contents and the temporary file is gone.
void write_file_atomically(const std::string& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::string& path, std::string_view text);

// The two halves of that, for a file whose pieces come one after the other: where to write it, and the move.
std::string temporary_name(const std::string& path);
void put_in_place(const std::string& temporary, const std::string& path);

// Makes names created, renamed or removed in that directory durable.
void sync_directory(const std::string& path);

}  // namespace weir
