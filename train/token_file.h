// Token shards: files of tokens that training reads block by block.
//
//   offset  bytes
//        0      8  "weir tok"
//        8      4  version, 1
//       12      4  bytes per token: 1, 2 or 4
//       16      8  vocabulary: every token is below
//       24      8  number of tokens
//       32      8  0
//       40     16  XXH3-128 of the tokens, low half first
//       56      8  XXH3-64 of the 56 bytes before
//       64         the tokens
//
// All numbers are unsigned and little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/file.h"
#include "train/text/text_check.h"

namespace weir {

// A shard, or a text whose bytes are the tokens, open for reading. Blocks are copied out of the file instead of mapping
// it: a step needs little (T + 1 tokens per stream), and a file that someone cuts off meanwhile is an error that
// names it, where a map would kill the process. Any number of threads may read.
class TokenFile {
 public:
  // A shard. The header must be sound and agree with the size of the file, else RunError(bad_data).
  explicit TokenFile(const std::string& path);
  // A text, each byte of which is a token. By default any file is one.
  static TokenFile text(const std::string& path, const TextOptions& options = {.content = TextContent::bytes});
  // Tokens as int32, one after another, and nothing else. They are not verified.
  static TokenFile plain(std::unique_ptr<const RandomAccessFile> tokens, std::int64_t vocabulary);

  const std::string& path() const { return file_->path(); }
  std::int64_t size() const { return size_; }         // tokens
  FileStamp stamp() const { return file_->stamp(); }  // of the file as it is now
  // As it was before any of it was read.
  const FileStamp& stamp_when_opened() const { return stamp_when_opened_; }
  std::int64_t vocabulary() const { return vocabulary_; }
  // Of the tokens, 32 hexadecimal digits: of a shard what its header says, of a text what it held as it was opened.
  // Where opening did not read the text (TextContent::bytes), this does.
  std::string checksum() const;
  // The same of what is there now: reads a text.
  std::string present_checksum() const;

  // The tokens from `begin` on. One beyond the vocabulary is a RunError(bad_data) with file, place and value.
  void read(std::int64_t begin, std::span<std::int32_t> into) const;

  // Reads a shard from end to end and compares the checksum. Throws as read() does. A text has nothing to compare with.
  void verify() const;

 private:
  TokenFile() = default;
  void check(std::int64_t begin, std::span<const std::int32_t> tokens) const;
  std::string hash() const;

  std::shared_ptr<const RandomAccessFile> file_;
  FileStamp stamp_when_opened_;
  bool is_shard_ = false;
  std::uint64_t data_start_ = 0;  // byte offset in the file
  std::size_t token_bytes_ = 1;
  std::int64_t size_ = 0, vocabulary_ = 256;
  std::string checksum_;
};

// What a token of a vocabulary takes in a shard: 1, 2 or 4 bytes.
constexpr std::size_t bytes_per_token(std::int64_t vocabulary) {
  return vocabulary <= 1 << 8 ? 1 : vocabulary <= 1 << 16 ? 2 : 4;
}

// Where tokens go, one after another.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void append(std::span<const std::int32_t> tokens) = 0;
  virtual std::int64_t size() const = 0;  // tokens appended
};

// Writes a shard beside its final place, into which commit() moves it; without commit() nothing is left. A disk that is
// full or any other failure to write is a RunError(io) naming the shard.
class TokenFileWriter {
 public:
  TokenFileWriter(const std::string& path, std::int64_t vocabulary);
  ~TokenFileWriter();
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;

  const std::string& path() const { return path_; }
  std::int64_t size() const { return size_; }                // tokens appended
  const std::string& checksum() const { return checksum_; }  // once finished

  // A token outside the vocabulary is an ArgumentError.
  void append(std::span<const std::int32_t> tokens);
  void finish();  // brings the whole shard to the disk, under its temporary name
  void commit();  // finishes it where that was not done, and puts it in place

 private:
  struct Hash;

  void flush();

  const std::string path_, temporary_;
  const std::int64_t vocabulary_;
  const std::size_t token_bytes_;
  std::int64_t size_ = 0;
  std::string buffer_, checksum_;  // encoded tokens that were not written yet
  std::unique_ptr<Hash> hash_;
  std::unique_ptr<FileWriter> file_;
  bool finished_ = false, committed_ = false;
};

}  // namespace weir
