#include "train/text/text_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "core/error.h"
#include "core/text.h"

namespace weir {
namespace {

constexpr std::size_t kMaxLine = std::size_t{64} << 20;

Unpacker unpack = nullptr;

class PlainText final : public TextStream {
 public:
  explicit PlainText(std::shared_ptr<const RandomAccessFile> file)
      : file_(std::move(file)), label_(printable(file_->path(), 4096)) {}

  std::size_t read(std::span<char> into) override {
    const std::size_t n = std::min<std::uint64_t>(file_->size() - position_, into.size());
    file_->read(position_, std::as_writable_bytes(into.first(n)));
    position_ += n;
    return n;
  }
  const std::string& label() const override { return label_; }

 private:
  std::shared_ptr<const RandomAccessFile> file_;
  std::string label_;
  std::uint64_t position_ = 0;
};

class TextInMemory final : public TextStream {
 public:
  TextInMemory(std::string text, std::string label) : text_(std::move(text)), label_(std::move(label)) {}

  std::size_t read(std::span<char> into) override {
    const std::size_t n = text_.copy(into.data(), into.size(), position_);
    position_ += n;
    return n;
  }
  const std::string& label() const override { return label_; }

 private:
  std::string text_, label_;
  std::size_t position_ = 0;
};

// Passes a text on, and refuses what is none.
class CheckedText final : public TextStream {
 public:
  CheckedText(std::unique_ptr<TextStream> text, const TextOptions& options)
      : text_(std::move(text)), options_(options), head_(kHeadBytes, '\0') {
    std::size_t size = 0;
    for (std::size_t n; (n = text_->read(std::span(head_).subspan(size))) > 0;) size += n;
    head_.resize(size);
    if (head_.empty())
      throw RunError(ExitCode::bad_data, fmt::format("{}: there is nothing in this text; name another", label()));
    refuse_other_kinds(head_, label(), options_);
    check(head_);
    if (head_.starts_with("\xef\xbb\xbf")) position_ = 3;
  }

  std::size_t read(std::span<char> into) override {
    if (position_ < head_.size()) {
      const std::size_t n = head_.copy(into.data(), into.size(), position_);
      position_ += n;
      return n;
    }
    const std::size_t n = text_->read(into);
    if (n == 0 && !into.empty() && judged()) refuse_other_encodings(check_, label(), options_);
    check(into.first(n));
    return n;
  }
  const std::string& label() const override { return text_->label(); }

 private:
  static constexpr std::uint64_t kEnough = std::uint64_t{1} << 20;  // bytes after which the share is meaningful

  bool judged() const { return options_.content != TextContent::json_lines; }
  void check(std::span<const char> bytes) {
    if (!judged()) return;
    check_.update(bytes);
    if (check_.bytes() >= kEnough || (check_.first_zero() && options_.content == TextContent::text))
      refuse_other_encodings(check_, label(), options_);
  }

  std::unique_ptr<TextStream> text_;
  const TextOptions options_;
  std::string head_;
  std::size_t position_ = 0;  // in the head
  Utf8Check check_;
};

std::string head_of(const RandomAccessFile& file) {
  std::string head(std::min<std::uint64_t>(kHeadBytes, file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(head)));
  return head;
}

std::unique_ptr<TextStream> open_packed(const std::string& path, const Packing& packing, const std::string& member) {
  if (unpack == nullptr)
    throw RunError(
        ExitCode::unavailable,
        fmt::format("{}: this file is packed ({}), and this build of weir unpacks nothing, since it was built "
                    "without libarchive or zlib; unpack it yourself with '{} FILE', or build weir again with "
                    "-Dlibarchive=enabled",
                    printable(path, 4096), packing.name, packing.command));
  return unpack(path, member);
}

// A file that is no TextContent::bytes; null where it is not packed.
struct Opened {
  std::unique_ptr<TextStream> text;
  const Packing* packing;
};
Opened open_checked(const std::shared_ptr<const RandomAccessFile>& file, const TextOptions& options,
                    const std::string& member) {
  const std::string head = head_of(*file);
  refuse_other_kinds(head, printable(file->path(), 4096), options);  // documents and models that are zip archives
  const Packing* const packing = packing_of(head);
  auto text = packing == nullptr ? std::make_unique<PlainText>(file) : open_packed(file->path(), *packing, member);
  return {std::make_unique<CheckedText>(std::move(text), options), packing};
}

// The size of what is left of a text, which `use` gets piece by piece.
template <class Use>
std::uint64_t read_to_end(TextStream& text, Use&& use) {
  std::string piece(std::size_t{1} << 20, '\0');
  std::uint64_t size = 0;
  for (std::size_t n; (n = text.read(piece)) > 0; size += n) use(std::string_view(piece).substr(0, n));
  return size;
}

}  // namespace

std::unique_ptr<TextStream> open_plain(const std::string& path, Empty empty) {
  return std::make_unique<PlainText>(std::make_shared<const RandomAccessFile>(path, empty));
}

std::unique_ptr<TextStream> text_in_memory(std::string text, std::string label) {
  return std::make_unique<TextInMemory>(std::move(text), std::move(label));
}

bool is_gzip(const std::string& path) { return head_of(RandomAccessFile(path)).starts_with("\x1f\x8b"); }

bool is_packed(const std::string& path) { return packing_of(head_of(RandomAccessFile(path))) != nullptr; }

bool set_unpacker(Unpacker unpacker) {
  unpack = unpacker;
  return true;
}

bool have_unpacking() { return unpack != nullptr; }

std::unique_ptr<TextStream> open_text(const std::string& path, const TextOptions& options, const std::string& member) {
  if (options.content == TextContent::bytes) return open_plain(path);
  return open_checked(std::make_shared<const RandomAccessFile>(path), options, member).text;
}

bool begins_like_json_lines(std::string_view head) {
  return head.starts_with('{') && head.find("\"text\"") != std::string::npos;
}

bool seems_json_lines(const std::string& path, const TextOptions& options) {
  if (options.content != TextContent::text) return false;
  std::string head(kHeadBytes, '\0');
  head.resize(open_text(path, options)->read(head));
  return begins_like_json_lines(head);
}

std::string json_lines_note(const std::string& path) {
  return fmt::format(
      "{} seems to be JSON lines, which are taken as they are, with braces and keys; to take the texts in them, split "
      "it "
      "into files with train and valid in their names, such as train.jsonl and valid.jsonl, and prepare these: weir "
      "prepare c4 --from train.jsonl valid.jsonl --out FOLDER",
      printable(path, 4096));
}

TextFile open_text_file(const std::string& path, const TextOptions& options,
                        const std::function<void(std::string_view piece)>& see) {
  auto file = std::make_shared<const RandomAccessFile>(path);
  const FileStamp stamp = file->stamp();
  if (options.content == TextContent::bytes) return {std::move(file), 0, stamp};
  const auto [text, packing] = open_checked(file, options, "");
  if (packing == nullptr) {
    const std::uint64_t size = read_to_end(*text, see);
    const std::uint64_t begin = file->size() - std::min(file->size(), size);  // a byte-order mark may have gone
    return {std::move(file), begin, stamp};
  }
  TemporaryFile unpacked(text->label());
  read_to_end(*text, [&](std::string_view piece) {
    unpacked.write(std::as_bytes(std::span(piece)));
    see(piece);
  });
  file = unpacked.finish();
  return {file, 0, file->stamp()};
}

std::string read_text(const std::string& path, std::uint64_t max_bytes, const TextOptions& options) {
  std::error_code ignored;
  const auto type = std::filesystem::status(path, ignored).type();
  std::unique_ptr<TextStream> text;
  if (type == std::filesystem::file_type::fifo || type == std::filesystem::file_type::character) {
    text = text_in_memory(read_stream(path, max_bytes), printable(path, 4096));
    if (options.content != TextContent::bytes) text = std::make_unique<CheckedText>(std::move(text), options);
  } else {
    text = open_text(path, options);
  }
  std::string contents;
  read_to_end(*text, [&](std::string_view piece) {
    if (piece.size() > max_bytes - contents.size())
      throw RunError(ExitCode::bad_data,
                     fmt::format("{}: this text is longer than {}, which is the most that is read at once; cut it",
                                 text->label(), byte_size(max_bytes)));
    contents += piece;
  });
  return contents;
}

bool LineReader::append_line(std::string& line) {
  const std::size_t start = line.size();
  for (;;) {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = text_.read(buffer_);
      if (end_ == 0) break;
    }
    const char* const from = buffer_.data() + begin_;
    const auto* const newline = static_cast<const char*>(std::memchr(from, '\n', end_ - begin_));
    const std::size_t n = newline == nullptr ? end_ - begin_ : static_cast<std::size_t>(newline - from) + 1;
    if (line.size() - start + n > kMaxLine)
      throw RunError(ExitCode::bad_data,
                     fmt::format("{}: line {} is longer than {} MiB; check that this is text, and break the line up",
                                 text_.label(), lines_ + 1, kMaxLine >> 20));
    line.append(from, n);
    begin_ += n;
    if (newline != nullptr) break;
  }
  const bool found = line.size() > start;
  lines_ += found;
  return found;
}

}  // namespace weir
