#include "train/new_run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/owned_folder.h"
#include "core/text.h"
#include "train/checkpoint.h"
#include "train/data_paths.h"
#include "train/run_lookup.h"
#include "train/run_names.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 5> kRunFiles = {"config.toml", "metrics.jsonl", "samples.txt", "tokenizer.model",
                                                       "tokenizer.json"};
constexpr std::uint64_t kLongestLock = 64;
constexpr std::size_t kNamed = 3;  // of what is in the way

bool is_run_file(const std::string& name) {
  return std::find(kRunFiles.begin(), kRunFiles.end(), name) != kRunFiles.end() ||
         name.starts_with("events.out.tfevents");
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename().string());
  if (error && error != std::errc::no_such_file_or_directory)
    throw SystemError(folder, "look into the folder", error.value());
  std::sort(names.begin(), names.end());
  return names;
}

void check_lock(const std::string& file) {
  if (!is_there(file, Links::themselves)) return;
  check_replaceable(file);
  const RandomAccessFile lock(file, Empty::allowed);
  std::string text(std::min<std::uint64_t>(lock.size(), kLongestLock), '\0');
  lock.read(0, std::as_writable_bytes(std::span(text)));
  if (is_lock_text(text)) return;
  throw ArgumentError(
      fmt::format("{}: this file is there already and is no lock of Weir's, which a run writes under "
                  "this name; choose another folder with --run, or move the file away",
                  printable(file, 4096)));
}

// The entry of `folder` in which the data at `path` lies; empty where it lies elsewhere.
std::string entry_of(const std::string& folder, const DataConfig& data, const std::string& path) {
  if (path.empty()) return "";
  const fs::path place = fs::path(real_folder(data_path(data, path))).lexically_relative(real_folder(folder));
  return place.empty() || *place.begin() == ".." ? "" : place.begin()->string();
}

// What may lie beside a run: hidden files, configurations, what a sweep writes of it, and the data that it is to be
// trained on.
bool may_stay(const std::string& name, const std::string& folder, const DataConfig& data) {
  return name.starts_with('.') || name == "lock" || name == "checkpoints" || name == "result.json" ||
         name == "log.txt" || name.ends_with(".toml") || name == entry_of(folder, data, data.train) ||
         name == entry_of(folder, data, data.valid);
}

// `who` needs a folder of its own: "a run".
void refuse_others(const std::string& folder, const std::string& who, std::vector<std::string> others) {
  if (others.empty()) return;
  const std::size_t more = others.size() - std::min(others.size(), kNamed);
  others.resize(others.size() - more);
  for (std::string& other : others) other = printable(other);
  throw ArgumentError(
      fmt::format("{} holds other files or folders ({}{}), and {} needs a folder of its own; choose "
                  "another with --run",
                  printable(folder, 4096), join(others, ", "), more > 0 ? fmt::format(" and {} more", more) : "", who));
}

bool is_run_or_empty(const std::string& folder) {
  std::error_code ignored;
  return fs::is_directory(folder, ignored) && (holds_run(folder) || fs::is_empty(folder, ignored));
}

}  // namespace

bool is_lock_text(const std::string& text) { return text.empty() || text.starts_with("pid "); }

void check_new_run_folder(const std::string& folder, const DataConfig& data) {
  const std::string name = printable(folder, 4096);
  const std::vector<std::string> names = names_in(folder);
  for (const std::string& each : names)
    if (is_run_file(each)) check_replaceable(folder + "/" + each);  // links and pipes are told as what they are
  const auto has = [&](const char* file) { return std::find(names.begin(), names.end(), file) != names.end(); };
  if (!list_checkpoints(folder + "/checkpoints").empty() ||
      (has("config.toml") && (has("metrics.jsonl") || has("lock"))))
    throw ArgumentError(
        fmt::format("{} already holds a run: choose another folder with --run, or continue it "
                    "with: {}",
                    name, resume_command(folder)));
  if (has("dataset.json"))
    throw ArgumentError(
        fmt::format("{} holds prepared data, and a run needs a folder of its own; choose another with --run", name));
  if (const auto mine = std::find_if(names.begin(), names.end(), is_run_file); mine != names.end())
    throw ArgumentError(
        fmt::format("{}/{}: this file is there already, and a run writes one of that name; choose "
                    "another folder with --run, or move the file away",
                    name, printable(*mine)));
  check_lock(folder + "/lock");
  std::vector<std::string> others;
  for (const std::string& each : names)
    if (!may_stay(each, folder, data)) others.push_back(each);
  refuse_others(folder, "a run", others);
}

void check_new_sweep_folder(const std::string& folder) {
  check_lock(folder + "/lock");
  std::vector<std::string> others;
  for (const std::string& name : names_in(folder))
    if (!name.starts_with('.') && name != "lock" && !name.ends_with(".toml") && !is_run_or_empty(folder + "/" + name))
      others.push_back(name);
  refuse_others(folder, "a sweep", others);
}

}  // namespace weir
