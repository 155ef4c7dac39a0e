#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <new>

#include "core/error.h"
#include "core/text.h"
#include "train/text/text_stream.h"

namespace weir {
namespace {

std::string_view last_part(std::string_view name) { return name.substr(name.rfind('/') + 1); }

[[noreturn]] void fail_unpacking(const std::string& label, const std::string& reason) {
  throw RunError(ExitCode::bad_data, fmt::format("{}: it cannot be unpacked ({}), so it is damaged or was cut off; get "
                                                 "it again",
                                                 label, printable(reason)));
}

// 86525064 as 86,525,064.
std::string with_commas(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t left = digits.size(); left > 3; left -= 3) digits.insert(left - 3, ",");
  return digits;
}

// What has come out of a file, and how much may.
class Allowance {
 public:
  explicit Allowance(const std::string& path) : limit_(unpacking_limit(std::filesystem::file_size(path))) {}

  void take(const std::string& label, std::uint64_t bytes) {
    taken_ += bytes;
    if (taken_ > limit_)
      throw RunError(ExitCode::bad_data,
                     fmt::format("{}: this file unpacks to more than {} bytes, far more than text normally does; check "
                                 "that it is the right file, or unpack it yourself",
                                 label, with_commas(limit_)));
  }

 private:
  std::uint64_t limit_, taken_ = 0;
};

// gzip by zlib, which compares the checksums that it holds; libarchive does not.
class GzipText final : public TextStream {
 public:
  explicit GzipText(const std::string& path)
      : label_(printable(path, 4096)), allowance_(path), file_(gzopen(path.c_str(), "rb"), gzclose) {
    if (file_ == nullptr && errno == ENOMEM) throw std::bad_alloc();
    if (file_ == nullptr) throw RunError(ExitCode::io, fmt::format("{}: it cannot be opened; check the path", label_));
    gzbuffer(file_.get(), 1 << 18);
  }

  bool holds_tar() {
    char head[kHeadBytes] = {};
    const int n = gzread(file_.get(), head, sizeof head);
    if (n < 0 || gzrewind(file_.get()) != 0) return false;  // read() will say what is wrong
    const Packing* const packing = packing_of({head, static_cast<std::size_t>(n)});
    return packing != nullptr && packing->name == "tar";
  }

  std::size_t read(std::span<char> into) override {
    const int n = gzread(file_.get(), into.data(), static_cast<unsigned>(std::min<std::size_t>(into.size(), 1 << 30)));
    int code = Z_OK;
    const char* const reason = gzerror(file_.get(), &code);
    if (code == Z_MEM_ERROR) throw std::bad_alloc();
    if (n < 0 || (code != Z_OK && code != Z_STREAM_END)) fail_unpacking(label_, reason);
    allowance_.take(label_, static_cast<std::uint64_t>(n));
    return static_cast<std::size_t>(n);
  }
  const std::string& label() const override { return label_; }

 private:
  std::string label_;
  Allowance allowance_;
  std::unique_ptr<gzFile_s, decltype(&gzclose)> file_;
};

class ArchiveText final : public TextStream {
 public:
  // With `gzip`, the archive is in a file of gzip.
  ArchiveText(const std::string& path, const std::string& member, bool gzip)
      : file_(path), gzip_(gzip), path_(printable(path, 4096)), label_(path_), allowance_(path) {
    open();
    if (member.empty())
      find_only_file();
    else
      find(member);
  }

  std::size_t read(std::span<char> into) override {
    const la_ssize_t n = archive_read_data(archive_.get(), into.data(), into.size());
    if (n < 0) fail();
    allowance_.take(label_, static_cast<std::uint64_t>(n));
    return static_cast<std::size_t>(n);
  }
  const std::string& label() const override { return label_; }

 private:
  void open() {
    archive_.reset(archive_read_new());
    if (archive_ == nullptr) throw std::bad_alloc();
    // Only what is built into the library: for other kinds it would start programs.
    for (const auto support :
         {archive_read_support_filter_bzip2, archive_read_support_filter_xz, archive_read_support_filter_zstd,
          archive_read_support_format_zip, archive_read_support_format_tar, archive_read_support_format_raw,
          archive_read_support_format_empty})
      if (support(archive_.get()) != ARCHIVE_OK) {
        if (archive_errno(archive_.get()) == ENOMEM) throw std::bad_alloc();
        throw RunError(ExitCode::unavailable, fmt::format("libarchive: {}; install a complete one", reason()));
      }
    if (gzip_) unzipped_ = std::make_unique<GzipText>(file_);
    const int result = gzip_ ? archive_read_open(archive_.get(), this, nullptr, read_unzipped, nullptr)
                             : archive_read_open_filename(archive_.get(), file_.c_str(), 1 << 18);
    if (result != ARCHIVE_OK) fail();
  }

  // For libarchive, which no exception may pass through: fail() throws it.
  static la_ssize_t read_unzipped(archive*, void* self, const void** bytes) {
    auto& text = *static_cast<ArchiveText*>(self);
    *bytes = text.buffer_.data();
    try {
      return static_cast<la_ssize_t>(text.unzipped_->read(text.buffer_));
    } catch (...) {
      text.failure_ = std::current_exception();
      return ARCHIVE_FATAL;
    }
  }

  [[noreturn]] void fail() const {
    if (failure_) std::rethrow_exception(failure_);
    if (archive_errno(archive_.get()) == ENOMEM) throw std::bad_alloc();
    fail_unpacking(label_, reason());
  }

  std::string reason() const {
    const char* const text = archive_error_string(archive_.get());
    return text != nullptr ? printable(text) : "no reason given";
  }

  // Goes to the next regular file; false after the last.
  bool next_file() {
    for (;;) {
      archive_entry* entry = nullptr;
      const int result = archive_read_next_header(archive_.get(), &entry);
      if (result == ARCHIVE_EOF) return false;
      if (result != ARCHIVE_OK && result != ARCHIVE_WARN) fail();
      if (archive_entry_filetype(entry) != AE_IFREG) continue;
      if (archive_entry_is_data_encrypted(entry) != 0)
        throw RunError(ExitCode::bad_data,
                       fmt::format("{}: it is encrypted; unpack it with its password, and name what comes out", path_));
      const char* const name = archive_entry_pathname(entry);
      name_ = name != nullptr ? name : "";
      return true;
    }
  }

  bool has_members() const { return archive_format(archive_.get()) != ARCHIVE_FORMAT_RAW; }

  void find(const std::string& member) {
    std::string seen;
    int files = 0;
    while (next_file()) {
      if (!has_members()) return;
      if (last_part(name_) == member) {
        label_ = fmt::format("{} ({})", path_, printable(name_));
        return;
      }
      if (++files <= 5) seen += fmt::format("{}{}", files > 1 ? ", " : "", printable(name_, 60));
    }
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: there is no {} in this archive, only {}{}; check that it is the right one", path_,
                               member, files > 0 ? seen : "no file", files > 5 ? ", ..." : ""));
  }

  void find_only_file() {
    if (!next_file()) throw RunError(ExitCode::bad_data, fmt::format("{}: it is empty; get it again", path_));
    if (!has_members()) return;
    const std::string first = name_;
    if (next_file())
      throw RunError(ExitCode::bad_data,
                     fmt::format("{}: it holds several files ({}, {}); unpack it and name those that are meant", path_,
                                 printable(first, 60), printable(name_, 60)));
    while (unzipped_ != nullptr && unzipped_->read(buffer_) > 0) {  // to the end, where its checksum is
    }
    open();
    next_file();
  }

  const std::string file_;
  const bool gzip_;
  std::unique_ptr<GzipText> unzipped_;
  std::string buffer_ = std::string(std::size_t{1} << 18, '\0');
  std::exception_ptr failure_;
  std::unique_ptr<archive, decltype(&archive_read_free)> archive_{nullptr, archive_read_free};
  std::string path_, label_, name_;
  Allowance allowance_;
};

const bool registered =
    set_unpacker([](const std::string& path, const std::string& member) -> std::unique_ptr<TextStream> {
      if (!is_gzip(path)) return std::make_unique<ArchiveText>(path, member, false);
      auto gzip = std::make_unique<GzipText>(path);
      if (gzip->holds_tar()) return std::make_unique<ArchiveText>(path, member, true);
      return gzip;
    });

}  // namespace
}  // namespace weir
