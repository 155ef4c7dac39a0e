#include "train/data_paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

// Absolute, without symbolic links on the way; what stands at its end does not matter.
std::string real_path(const std::string& path) {
  const fs::path given(path);
  return from_folder(real_folder(given.parent_path().string()), given.filename().string());
}

std::vector<std::string> relative_paths(const DataConfig& data) {
  std::vector<std::string> paths;
  for (const std::string& path : {data.train, data.valid})
    if (is_relative_path(path)) paths.push_back(path);
  return paths;
}

std::vector<std::string> distinct(const std::vector<std::string>& folders) {
  std::vector<std::string> result;
  for (const std::string& folder : folders)
    if (!folder.empty() && std::find(result.begin(), result.end(), folder) == result.end()) result.push_back(folder);
  return result;
}

// `path` from `folder` on; empty where it is not in there.
std::string inside(const std::string& path, const std::string& folder) {
  return path.starts_with(folder + "/") ? path.substr(folder.size() + 1) : "";
}

}  // namespace

std::string working_directory() {
  std::error_code ignored;
  return fs::current_path(ignored).string();
}

std::string real_folder(const std::string& path) {
  std::error_code ignored;
  return fs::weakly_canonical(from_folder(working_directory(), path.empty() ? "." : path), ignored).string();
}

bool is_relative_path(const std::string& path) { return !path.empty() && path[0] != '/'; }

std::string from_folder(const std::string& folder, const std::string& path) {
  return folder.empty() || !is_relative_path(path) ? path : folder + (folder.ends_with('/') ? "" : "/") + path;
}

std::string data_path(const DataConfig& data, const std::string& path) {
  return data.folder == working_directory() ? path : from_folder(data.folder, path);
}

DataConfig found_data(DataConfig data, const std::string& run, const std::string& advice) {
  const std::vector<std::string> paths = relative_paths(data);
  if (paths.empty()) return data;
  const fs::path place = real_folder(run), around = place.parent_path();
  const std::vector<std::string> folders =
      distinct({data.folder, place.string(), around.string(),
                around.filename() == "runs" ? around.parent_path().string() : "", working_directory()});
  for (const std::string& folder : folders) {
    if (!std::all_of(paths.begin(), paths.end(),
                     [&](const std::string& path) { return is_there(from_folder(folder, path)); }))
      continue;
    data.folder = folder;
    return data;
  }
  std::string missing = paths[0];
  for (const std::string& path : paths)
    if (!is_there(from_folder(folders[0], path))) missing = path;
  std::vector<std::string> quoted;
  for (const std::string& folder : folders) quoted.push_back(printable(folder, 4096));
  std::string name = printable(run, 4096);
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  throw RunError(ExitCode::io,
                 fmt::format("{}: the data of {} is not there any more; looked in {}; put it back{}",
                             printable(missing, 4096), name, join(quoted, ", "), advice.empty() ? "" : ", " + advice));
}

DataConfig relative_to_run(DataConfig data, const std::string& run) {
  const std::string folder = real_folder(run);
  const auto place = [&](const std::string& path) { return path.empty() ? "" : real_path(data_path(data, path)); };
  const std::string train = place(data.train), valid = place(data.valid);
  const std::string train_inside = inside(train, folder), valid_inside = inside(valid, folder);
  if (train_inside.empty() && valid_inside.empty()) return data;
  data.train = train_inside.empty() ? train : train_inside;
  data.valid = valid_inside.empty() ? valid : valid_inside;
  data.folder = folder;
  return data;
}

}  // namespace weir
