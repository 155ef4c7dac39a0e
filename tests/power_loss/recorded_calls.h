// Which calls changed files below a folder, in their order and with their data. The program's own definitions of open,
// write, rename, ... come before libc's, so they see what the library and the C++ runtime do as well.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir {

struct Call {
  enum class Kind {
    create,    // `path`, which had not been there, or which loses its contents
    write,     // `data` at `offset`
    resize,    // to `offset` bytes
    sync,      // a file or a directory
    rename,    // `path` becomes `target`
    exchange,  // `path` and `target` change places
    make_directory,
    remove,      // a file or an empty directory
    acknowledge  // the program has told its user that step `offset` is saved
  };
  Kind kind;
  std::string path, target;  // relative to the folder; "" is the folder itself
  std::uint64_t offset = 0;
  std::string data;
};

// Records what happens below `folder` from now on.
void start_recording(const std::string& folder);
// A mark among the calls.
void acknowledge(std::int64_t step);
std::vector<Call> stop_recording();

}  // namespace weir
