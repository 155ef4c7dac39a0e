// A text that a user names, whatever it is packed in: a plain file, a compressed one, or a member of an archive. Every
// command opens texts here, so that all of them take and refuse the same files.
//
// What is no text is refused with RunError(bad_data): another kind of file, known by its first bytes; UTF-16 and
// UTF-32; zero bytes; more than one byte in a hundred that is not UTF-8 (train/text/text_check.h). A byte-order mark of
// UTF-8 at the beginning is no part of the text. With TextContent::bytes a file is taken as it is, nothing unpacked.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/file.h"
#include "train/text/text_check.h"

namespace weir {

// Read from its beginning to its end. No name in an archive is used as a path.
class TextStream {
 public:
  virtual ~TextStream() = default;
  virtual std::size_t read(std::span<char> into) = 0;  // bytes read; 0 at the end
  virtual const std::string& label() const = 0;        // for messages: the file, and the member of an archive
};

// The bytes of any file, unchecked.
std::unique_ptr<TextStream> open_plain(const std::string& path, Empty empty = Empty::refused);

// A text that is there already, unchecked.
std::unique_ptr<TextStream> text_in_memory(std::string text, std::string label);

// A text, unpacked while it is read where its first bytes say that it is packed (zip, tar, gzip, bzip2, xz, Zstandard).
// Of an archive, the member of which `member` is the last part of the name; with an empty `member`, its only file.
// Files without members are that member themselves. That its encoding is wrong may be found only on reading.
//
// A damaged or cut-off archive, one without the member, and one that unpacks to more than unpacking_limit() (no text
// does) are a RunError(bad_data). A build without libarchive refuses packed files with RunError(unavailable).
std::unique_ptr<TextStream> open_text(const std::string& path, const TextOptions& options = {},
                                      const std::string& member = "");

// A text for reading at any place. One that is packed is unpacked into a temporary file.
struct TextFile {
  std::shared_ptr<const RandomAccessFile> file;
  std::uint64_t begin;  // byte offset of the text, which goes to the end
  FileStamp stamp;      // of the file before any of the text was read
};
// `see` gets all of the text, piece by piece, as it is checked: nothing with TextContent::bytes, which needs no check.
TextFile open_text_file(
    const std::string& path, const TextOptions& options = {},
    const std::function<void(std::string_view piece)>& see = [](std::string_view) {});

// A whole text, of a file or a pipe, whose end it waits for; refuses more than `max_bytes`. One that comes out of a
// pipe cannot be packed.
std::string read_text(const std::string& path, std::uint64_t max_bytes, const TextOptions& options = {});

// Whether a text seems to be JSON lines with documents in them, which are seldom meant to be trained on as they are.
bool seems_json_lines(const std::string& path, const TextOptions& options = {});
bool begins_like_json_lines(std::string_view head);    // of kHeadBytes
std::string json_lines_note(const std::string& path);  // what becomes of them, and how their texts are taken

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
  explicit LineReader(TextStream& text) : text_(text), buffer_(std::size_t{1} << 17, '\0') {}

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
