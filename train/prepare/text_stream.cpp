#include "train/prepare/text_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"

namespace weir {
namespace {

constexpr std::size_t kMaxLine = std::size_t{64} << 20;

Unpacker unpack = nullptr;

class PlainText final : public TextStream {
 public:
  explicit PlainText(const std::string& path) : file_(path), label_(printable(path, 4096)) {}

  std::size_t read(std::span<char> into) override {
    const auto rest = file_.bytes().subspan(position_);
    const std::size_t n = std::min(rest.size(), into.size());
    std::memcpy(into.data(), rest.data(), n);
    position_ += n;
    return n;
  }
  const std::string& label() const override { return label_; }

 private:
  MappedFile file_;
  std::string label_;
  std::size_t position_ = 0;
};

std::string head_of(const std::string& path) {
  std::string head(512, '\0');
  open_plain(path)->read(head);
  return head;
}

}  // namespace

std::unique_ptr<TextStream> open_plain(const std::string& path) { return std::make_unique<PlainText>(path); }

bool is_gzip(const std::string& path) { return head_of(path).starts_with("\x1f\x8b"); }

bool is_packed(const std::string& path) {
  const std::string head = head_of(path);
  using namespace std::string_view_literals;
  for (const auto magic :
       {"PK\x03\x04"sv, "PK\x05\x06"sv, "\x1f\x8b"sv, "BZh"sv, "\xfd\x37zXZ\0"sv, "\x28\xb5\x2f\xfd"sv})
    if (head.starts_with(magic)) return true;
  return head.compare(257, 5, "ustar") == 0;
}

bool set_unpacker(Unpacker unpacker) {
  unpack = unpacker;
  return true;
}

bool have_unpacking() { return unpack != nullptr; }

std::unique_ptr<TextStream> open_text(const std::string& path, const std::string& member) {
  if (!is_packed(path)) return open_plain(path);
  if (unpack == nullptr)
    throw RunError(
        ExitCode::unavailable,
        fmt::format("{}: this file is packed, and this build of weir unpacks nothing, since it was built "
                    "without libarchive or zlib; unpack it yourself, or build weir again with -Dlibarchive=enabled",
                    printable(path, 4096)));
  return unpack(path, member);
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
