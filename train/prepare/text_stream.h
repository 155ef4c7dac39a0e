// A text read from its beginning to its end, whatever it is packed in: a plain file, a compressed one, or a member of
// an archive. What is unpacked goes to the reader and never to the disk, and no name in an archive is used as a path.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace weir {

class TextStream {
 public:
  virtual ~TextStream() = default;
  virtual std::size_t read(std::span<char> into) = 0;  // bytes read; 0 at the end
  virtual const std::string& label() const = 0;        // for messages: the file, and the member of an archive
};

// `path` as it is.
std::unique_ptr<TextStream> open_plain(const std::string& path);

// `path` unpacked, where its first bytes say that it is packed (zip, tar, gzip, bzip2, xz, Zstandard). Of an archive,
// the member of which `member` is the last part of the name; with an empty `member`, its only file. Files without
// members are that member themselves.
//
// A damaged or cut-off archive, one without the member, and one that unpacks to more than 200 times its size (no text
// does) are a RunError(bad_data). A build without libarchive refuses packed files with RunError(unavailable).
std::unique_ptr<TextStream> open_text(const std::string& path, const std::string& member = "");

bool is_packed(const std::string& path);
bool is_gzip(const std::string& path);
bool have_unpacking();

// The largest size to which a file of so many bytes may unpack.
constexpr std::uint64_t unpacking_limit(std::uint64_t packed_bytes) {
  return 200 * packed_bytes + (std::uint64_t{64} << 20);
}

using Unpacker = std::unique_ptr<TextStream> (*)(const std::string& path, const std::string& member);
bool set_unpacker(Unpacker unpacker);

// The lines of a text, with their ends.
class LineReader {
 public:
  explicit LineReader(TextStream& text) : text_(text), buffer_(std::size_t{1} << 20, '\0') {}

  // Appends the next line to `line`; false at the end. A line of more than 64 MiB is a RunError(bad_data).
  bool append_line(std::string& line);
  std::int64_t lines() const { return lines_; }  // read so far

 private:
  TextStream& text_;
  std::string buffer_;
  std::size_t begin_ = 0, end_ = 0;  // what of the buffer is not used yet
  std::int64_t lines_ = 0;
};

}  // namespace weir
