#include "train/run_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/text.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

// Also of "." and "runs/x/".
fs::path whole_path(const std::string& folder) {
  const fs::path path = fs::absolute(folder).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

std::string last_parts(const fs::path& path, std::ptrdiff_t count) {
  const std::ptrdiff_t all = std::distance(path.begin(), path.end());
  if (count >= all) return path.string();
  fs::path end;
  for (auto part = std::next(path.begin(), all - count); part != path.end(); ++part) end /= *part;
  return end.string();
}

// As few parts of `path` as no other path ends with.
std::string telling_end(const fs::path& path, const std::vector<fs::path>& paths) {
  const std::ptrdiff_t all = std::distance(path.begin(), path.end());
  for (std::ptrdiff_t count = 1; count < all; ++count) {
    const std::string end = last_parts(path, count);
    if (std::none_of(paths.begin(), paths.end(),
                     [&](const fs::path& other) { return other != path && last_parts(other, count) == end; }))
      return end;
  }
  return path.string();
}

}  // namespace

std::vector<std::string> folder_names(std::span<const std::string> folders) {
  std::vector<fs::path> paths;
  for (const std::string& folder : folders) paths.push_back(whole_path(folder));
  std::vector<std::string> names;
  for (auto path = paths.begin(); path != paths.end(); ++path) {
    const auto before = std::count(paths.begin(), path, *path);
    names.push_back(telling_end(*path, paths) + (before > 0 ? fmt::format(" ({})", before + 1) : ""));
  }
  return names;
}

std::vector<std::string> distinct_names(std::span<const std::string> names, std::span<const std::string> folders) {
  const std::vector<std::string> ends = folder_names(folders);
  std::vector<std::string> distinct;
  for (std::size_t i = 0; i < names.size(); ++i)
    distinct.push_back(std::count(names.begin(), names.end(), names[i]) > 1 ? fmt::format("{} ({})", names[i], ends[i])
                                                                            : names[i]);
  return distinct;
}

std::string resume_command(const std::string& run, const std::string& device) {
  return "weir train --resume " + shell_word(run.starts_with('-') ? "./" + run : run) +
         (device == "cpu" ? "" : " --device " + shell_word(device));
}

}  // namespace weir
