// Removing folders that Weir made, and never anything else: what has the name of one may be somebody's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

using IsOurs = std::function<bool(const std::string& name)>;

// A folder, opened without following a symbolic link in its place.
class OwnedFolder {
 public:
  // Not open() where it is not there, is no folder, or is a link to one.
  explicit OwnedFolder(std::string path);
  ~OwnedFolder();
  OwnedFolder(const OwnedFolder&) = delete;
  OwnedFolder& operator=(const OwnedFolder&) = delete;

  bool open() const { return descriptor_ >= 0; }

  // A regular file in it; nothing where it is none, is a link, is larger, or cannot be read.
  std::optional<std::string> read(const std::string& name, std::uint64_t max_bytes) const;

  // Removes the folder where everything in it is a regular file with a name that `is_ours` takes, the file `last` after
  // the others. Otherwise it stays as it is. False where it stays, or a part of it.
  bool remove(const IsOurs& is_ours, const std::string& last = "") const;

  // An entry that is no regular file, or has a name that `is_ours` refuses; nothing where there is none.
  std::optional<std::string> stranger(const IsOurs& is_ours) const;

 private:
  std::vector<std::string> entries() const;
  bool takes(const std::string& name, const IsOurs& is_ours) const;

  std::string path_;
  int descriptor_ = -1;
};

// The name that temporary_name() in core/file.h gave, in some process, to a file called NAME: NAME; otherwise nothing.
std::optional<std::string> named_temporarily(std::string_view name);

}  // namespace weir
