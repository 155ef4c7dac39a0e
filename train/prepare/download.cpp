#include "train/prepare/download.h"

#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/prepare/digest.h"
#include "train/progress.h"

namespace weir {
namespace {

constexpr int kFruitlessAttempts = 3;  // in a row, before the next place is tried

Transport transport = nullptr;

// NAME.part, locked by the process that fills it.
class PartFile {
 public:
  explicit PartFile(const std::string& path) : path_(path), descriptor_(open_to_append(path)) {
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      ::close(descriptor_);
      throw RunError(ExitCode::io, fmt::format("{}: another process is downloading this file; wait for it, or name "
                                               "another folder with --downloads",
                                               printable(path, 4096)));
    }
    struct stat status {};
    ::fstat(descriptor_, &status);
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~PartFile() {
    if (size_ == 0 && !finished_) ::unlink(path_.c_str());  // nothing to go on from
    ::close(descriptor_);
  }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  std::uint64_t size() const { return size_; }

  void clear() {
    if (::ftruncate(descriptor_, 0) != 0) fail("empty the file", errno);
    size_ = 0;
  }

  void append(std::span<const char> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail("write after " + counted(size_, "byte"), n < 0 ? errno : ENOSPC);
      size_ += static_cast<std::uint64_t>(n);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }

  // Gives it its own name.
  void finish(const std::string& path) {
    if (::fsync(descriptor_) != 0) fail("bring the file to the disk", errno);
    if (::rename(path_.c_str(), path.c_str()) != 0) fail("rename the file", errno);
    finished_ = true;
  }

 private:
  [[noreturn]] void fail(const std::string& action, int error) const {
    throw RunError(ExitCode::io,
                   fmt::format("{}: cannot {}: {}; free some space or name another folder with --downloads",
                               printable(path_, 4096), action, std::generic_category().message(error)));
  }

  std::string path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
  bool finished_ = false;
};

std::string host_of(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  return url.substr(begin, url.find('/', begin) - begin);
}

void pause(double seconds, const Reporter& reporter) {
  using clock = std::chrono::steady_clock;
  for (const auto end = clock::now() + std::chrono::duration<double>(seconds); clock::now() < end;) {
    reporter.check_stop();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

// Those of the folders on the way to `path` that were not there, the innermost first.
std::vector<std::string> make_folders(const std::string& path) {
  std::vector<std::string> missing;
  std::error_code ignored;
  for (std::filesystem::path folder = path; !folder.empty() && !std::filesystem::exists(folder, ignored);
       folder = folder.parent_path())
    missing.push_back(folder.string());
  std::filesystem::create_directories(path);
  return missing;
}

class Downloader {
 public:
  Downloader(const RemoteFile& file, const DownloadOptions& options, Reporter& reporter)
      : file_(file), options_(options), reporter_(reporter), path_(options.folder + "/" + file.name) {}

  std::string run() {
    if (kept()) return path_;
    if (!have_downloads())
      throw RunError(
          ExitCode::unavailable,
          fmt::format("{}: this build of weir downloads nothing, since it was built without libcurl or "
                      "OpenSSL; get the file yourself ({}) and give it with --from FILE, or build weir again "
                      "with -Dcurl=enabled -Dopenssl=enabled",
                      file_.name, join(file_.urls, " or ")));
    const std::vector<std::string> made = make_folders(options_.folder);
    for (const std::string& url : places()) {
      if (!fetch_from(url)) continue;
      if (!failures_.empty()) reporter_.message(fmt::format("{}: places that failed: {}", file_.name, failures_));
      return path_;
    }
    std::error_code ignored;
    for (const std::string& folder : made) std::filesystem::remove(folder, ignored);  // only where it is empty
    throw RunError(wrong_ ? ExitCode::bad_data : ExitCode::io,
                   fmt::format("{}: cannot be downloaded: {}; get it some other way and give it with --from FILE, or "
                               "name another place with --mirror URL",
                               file_.name, failures_));
  }

 private:
  // Whether it was downloaded before. What is not the file that is meant makes way for it.
  bool kept() {
    if (!is_there(path_)) return false;
    if (file_.sha256.empty() || sha256_of_file(path_, reporter_) == file_.sha256) {
      reporter_.message(fmt::format("{} is there already", printable(path_, 4096)));
      return true;
    }
    reporter_.message(fmt::format("{} is damaged: downloading it again", printable(path_, 4096)));
    std::filesystem::remove(path_);
    return false;
  }

  std::vector<std::string> places() const {
    std::vector<std::string> urls = file_.urls;
    const std::string& mirror = options_.mirror;
    if (mirror.empty()) return urls;
    const bool whole = mirror.ends_with("/" + file_.name);
    if (options_.only_mirror) urls.clear();
    urls.insert(urls.begin(), whole ? mirror : mirror + (mirror.ends_with('/') ? "" : "/") + file_.name);
    return urls;
  }

  void note_failure(const std::string& url, const std::string& reason) {
    const std::string text = fmt::format("{}: {}", printable(host_of(url)), printable(reason));
    failures_ += (failures_.empty() ? "" : ", ") + text;
  }

  bool fetch_from(const std::string& url) {
    PartFile part(path_ + ".part");
    const bool resumed = part.size() > 0;
    reporter_.message(resumed ? fmt::format("downloading {} (from byte {} on)", printable(url), part.size())
                              : fmt::format("downloading {}", printable(url)));
    if (!transfer(url, part)) return false;
    if (accept(url, part)) return true;
    // Perhaps another place gave the first part of it.
    return resumed && transfer(url, part) && accept(url, part);
  }

  // Until everything is there, or the place seems hopeless.
  bool transfer(const std::string& url, PartFile& part) {
    for (int fruitless = 0; fruitless < kFruitlessAttempts;) {
      const std::uint64_t before = part.size();
      const TransferResult result = attempt(url, part);
      reporter_.check_stop();
      switch (result.outcome) {
        case TransferResult::Outcome::done:
          return true;
        case TransferResult::Outcome::beyond_end:
          if (!file_.sha256.empty() && before > 0) return true;  // the digest will tell
          part.clear();
          ++fruitless;
          break;
        case TransferResult::Outcome::refused:
        case TransferResult::Outcome::ended:
          note_failure(url, result.reason);
          return false;
        case TransferResult::Outcome::interrupted:
          if (part.size() > before) {
            fruitless = 0;
          } else if (++fruitless == kFruitlessAttempts) {
            note_failure(url, result.reason);
            return false;
          } else {
            pause(fruitless, reporter_);
          }
      }
    }
    note_failure(url, "it sends nothing");
    return false;
  }

  TransferResult attempt(const std::string& url, PartFile& part) {
    std::uint64_t total = 0;
    std::string why;
    TransferRequest request{url, options_.user_agent, part.size(), options_.timeout_s, {}, {}, {}};
    request.begin = [&](std::uint64_t start, std::uint64_t size) {
      total = size;
      if (size > 0 && file_.bytes > 0 && size != file_.bytes)
        why = fmt::format("it has {} there, expected {}", counted(size, "byte"), file_.bytes);
      else if (start == 0)
        part.clear();
      return why.empty();
    };
    request.write = [&](std::span<const char> bytes) {
      part.append(bytes);
      if (file_.bytes > 0 && part.size() > file_.bytes) why = fmt::format("more than {} bytes arrive", file_.bytes);
      show(part.size(), total > 0 ? total : file_.bytes);
      return why.empty();
    };
    request.stop = [&] { return reporter_.stop_requested(); };
    TransferResult result = transport(request);
    if (!why.empty()) result.reason = why;
    return result;
  }

  void show(std::uint64_t size, std::uint64_t total) {
    reporter_.progress(total > 0 ? fmt::format("{}: {} of {}", file_.name, byte_size(size), byte_size(total))
                                 : fmt::format("{}: {}", file_.name, byte_size(size)));
  }

  // Checks what has arrived, and gives it its name.
  bool accept(const std::string& url, PartFile& part) {
    if (!file_.sha256.empty()) {
      const std::string digest = sha256_of_file(path_ + ".part", reporter_);
      if (digest != file_.sha256) {
        wrong_ = true;
        note_failure(url, fmt::format("SHA-256 is {}, expected {}", digest, file_.sha256));
        part.clear();
        return false;
      }
    }
    part.finish(path_);
    sync_directory(options_.folder);
    return true;
  }

  const RemoteFile& file_;
  const DownloadOptions& options_;
  Reporter& reporter_;
  const std::string path_;
  std::string failures_;
  bool wrong_ = false;  // some place gave another file
};

}  // namespace

bool set_transport(Transport chosen) {
  transport = chosen;
  return true;
}

bool have_downloads() { return transport != nullptr && have_digest(); }

std::string download(const RemoteFile& file, const DownloadOptions& options, Reporter& reporter) {
  return Downloader(file, options, reporter).run();
}

}  // namespace weir
