// What the fuzz targets share: the input as a file that parsers open by its path, and what they may throw.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/error.h"

// libFuzzer's entry points; the first is in one_input.cpp. The mutator is optional; a target that lacks it gets
// libFuzzer's own.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed);
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace weir::fuzz {

// What a target does with an input. -1 keeps the input out of those that others are made of, 0 leaves that open.
int try_input(const std::uint8_t* data, std::size_t size);

[[noreturn]] inline void fail(const std::string& why) {
  std::fprintf(stderr, "fuzz target: %s\n", why.c_str());
  std::abort();
}

inline void require(bool holds, const char* what) {
  if (!holds) fail(std::string("does not hold: ") + what);
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A message goes to a terminal, on one line, whatever is in the file that it complains about.
inline void check_message(const Error& error) {
  const std::string_view message = error.what();
  if (error.code() == ExitCode::internal) fail(error.what());
  for (const char c : message)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) fail("a control character in: " + std::string(message));
  if (message.empty() || message.size() > 16384) fail("a message of " + std::to_string(message.size()) + " bytes");
}

// Runs the parser, which may throw a weir::Error and nothing else. False where it did.
template <class Work>
bool accepts(Work work) {
  try {
    work();
    return true;
  } catch (const Error& error) {
    check_message(error);
    return false;
  }
}

// A file in memory.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(memfd_create("fuzz", 0)) {
    if (descriptor_ < 0) fail("memfd_create");
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }
  void set(std::string_view bytes) {
    if (::ftruncate(descriptor_, 0) != 0 ||
        ::pwrite(descriptor_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      fail("cannot write a file in memory");
  }

 private:
  int descriptor_;
};

// A folder whose files are in memory, for parsers that want a folder or a name with an ending.
class Folder {
 public:
  Folder() : path_((std::filesystem::temp_directory_path() / "weir-fuzz-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) fail("cannot create " + path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::string add(const std::string& name, const MemoryFile& file) const {
    std::filesystem::create_symlink(file.path(), path_ + "/" + name);
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

}  // namespace weir::fuzz
