// Saves checkpoints and removes them; the reader is in train/checkpoint_reader.cpp.
#include "train/checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <set>

#include "core/error.h"
#include "core/file.h"
#include "core/json_writer.h"
#include "core/owned_folder.h"
#include "core/safetensors.h"
#include "core/stored_json.h"
#include "core/text.h"
#include "train/append_file.h"
#include "train/checkpoint_format.h"

namespace weir {
using namespace checkpoint;

namespace {

namespace fs = std::filesystem;

std::string step_name(std::int64_t step) { return fmt::format("step_{:08d}", step); }

// The step of a finished checkpoint's name, "step_" and digits; nothing for other names.
std::optional<std::int64_t> step_of(const std::string& name) {
  std::int64_t step = 0;
  if (!name.starts_with("step_")) return std::nullopt;
  const char *const begin = name.data() + 5, *const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  return error == std::errc() && stop == end && begin != end && step >= 0 ? std::optional(step) : std::nullopt;
}

std::string unfinished_name(const std::string& path) { return fmt::format("{}.tmp-{}", path, getpid()); }

// One member a line, for people to read.
std::string lines_of(const JsonObject& object) {
  std::string text = "{";
  for (const auto& [name, value] : object)
    text += fmt::format("{}\n {}: {}", text.size() > 1 ? "," : "", quote(name), value.text());
  return text + "\n}\n";
}

// The manifest of a checkpoint whose files are not written yet: it says whose folder this is.
std::string names_alone() {
  JsonObject manifest;
  for (const char* name : kFiles) manifest[name] = JsonObject();
  return Json(manifest).text() + "\n";
}

std::vector<NamedTensor> memory_tensors(const TrainingState& state) {
  std::vector<NamedTensor> tensors;
  for (std::size_t g = 0; g < state.memories.size(); ++g)
    for (std::size_t l = 0; l < state.memories[g].layers.size(); ++l)
      tensors.push_back({memory_name(g, l), state.memories[g].layers[l]});
  return tensors;
}

void write_files(const std::string& folder, const Config& config, const ParameterSet& parameters,
                 const Optimizer& optimizer, const TrainingState& state) {
  write_file_synced(folder + "/" + kManifest, names_alone());
  sync_directory(folder);
  write_safetensors(folder + "/model.safetensors", model_tensors(parameters), {{"format", "pt"}});
  write_safetensors(folder + "/optimizer.safetensors", optimizer.named_state());
  write_safetensors(folder + "/memory.safetensors", memory_tensors(state));
  JsonObject object = {{"format", kFormat},
                       {"config", to_toml(config)},
                       {"step", state.step},
                       {"optimizer", optimizer.kind()},
                       {"updates", optimizer.updates()},
                       {"tokens", state.tokens},
                       {"epoch", state.epoch},
                       {"block", state.block},
                       {"seconds", state.seconds},
                       {"data_tokens", state.data_tokens},
                       {"data_checksum", state.data_checksum},
                       {"tokenizer", state.tokenizer},
                       {"skipped_in_a_row", state.bad_in_a_row},
                       {"accepted_losses", state.accepted.losses},
                       {"accepted_gradient_norms", state.accepted.gradient_norms},
                       {"rollbacks", state.rollbacks},
                       {"best_nats", state.best_nats},
                       {"best_step", state.best_step},
                       {"pending", state.pending},
                       {"memory_groups", state.memories.size()}};
  if (!state.accepted.losses.empty()) object["lowest_loss"] = state.accepted.lowest_loss;
  if (state.held_back_nats) object["held_back_nats"] = *state.held_back_nats;
  write_file_synced(folder + "/state.json", lines_of(object));
  JsonObject manifest;
  for (const char* name : kFiles) {
    const RandomAccessFile file(folder + "/" + name);
    manifest[name] = JsonObject{{"bytes", file.size()}, {"xxh3_128", hash_of(file)}};
  }
  write_file_atomically(folder + "/" + kManifest, lines_of(manifest));
}

// Not those around it: a run's folder that was removed meanwhile does not come back with nothing but a checkpoint.
void make_folder(const std::string& path) {
  std::error_code error;
  const bool made = fs::create_directory(path, error);
  if (error)
    throw RunError(
        ExitCode::io,
        fmt::format("{}: cannot create the folder: {}; free some space, and check the permissions of the run's folder",
                    path, error.message()));
  if (made) sync_directory(fs::path(path).has_parent_path() ? fs::path(path).parent_path().string() : ".");
}

void make_new_folder(const std::string& path) {
  std::error_code error;
  if (!fs::create_directory(path, error) || error)
    throw SystemError(path, "create the folder", error ? error.value() : EEXIST);
}

// Whether somebody saves under this name just now, or was killed while doing so: step_00001234.tmp-PID.
bool is_unfinished(const std::string& name) {
  const std::optional<std::string> whole = named_temporarily("." + name);
  return whole && step_of(*whole);
}

// The files that the manifest in a folder names; none where there is no manifest of ours.
std::set<std::string> files_named_in(const OwnedFolder& folder) {
  const auto manifest = StoredJson::try_parse(folder.read(kManifest, kMaxJsonBytes).value_or(""));
  if (!manifest) return {};
  const std::vector<std::string> names = manifest->names();
  const bool all_known = std::all_of(names.begin(), names.end(), [](const std::string& name) {
    return std::find(kFiles.begin(), kFiles.end(), name) != kFiles.end();
  });
  return all_known ? std::set(names.begin(), names.end()) : std::set<std::string>();
}

bool belongs(const std::string& name, const std::set<std::string>& named) {
  return !named.empty() && (name == kManifest || named.contains(name) || named_temporarily(name) == kManifest);
}

// A folder with our manifest, and nothing but files that it names. What only has the name of a checkpoint is somebody
// else's, and so is what a symbolic link leads to.
bool is_ours(const std::string& path) {
  const OwnedFolder folder(path);
  const std::set<std::string> named = files_named_in(folder);
  return !named.empty() && !folder.stranger([&](const std::string& name) { return belongs(name, named); });
}

// Leaves what is not ours. The manifest goes last, so that what a crash leaves can be told; its name has said before
// that it is no checkpoint.
void remove_checkpoint(const std::string& path) {
  std::string doomed = path;
  if (!is_unfinished(fs::path(path).filename().string())) {
    if (!is_ours(path)) return;
    if (std::rename(path.c_str(), unfinished_name(path).c_str()) == 0) doomed = unfinished_name(path);
  }
  const OwnedFolder folder(doomed);
  const std::set<std::string> named = files_named_in(folder);
  // Without a name in its manifest it was just begun or is almost gone: there is nothing else in it.
  const bool bare = named.empty() && folder.read(kManifest, kMaxJsonBytes).value_or("").empty();
  folder.remove([&](const std::string& name) { return belongs(name, named) || (bare && name == kManifest); },
                kManifest);
}

// What stands where a checkpoint is to be saved, and is none of ours, gets another name.
void move_aside(const std::string& path) {
  for (int i = 1;; ++i) {
    const std::string aside = fmt::format("{}.kept-{}", path, i);
    if (renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, aside.c_str(), RENAME_NOREPLACE) == 0) {
      warn_on_stderr(
          fmt::format("{}: this is no checkpoint that Weir saved, and stands where one is to be saved: it is "
                      "kept as {}",
                      printable(path, 4096), printable(aside, 4096)));
      return;
    }
    if (errno != EEXIST)
      throw SystemError(path, "make room for a checkpoint, since what is there was not saved by Weir", errno);
  }
}

void make_room(const std::string& path) {
  if (is_there(path, Links::themselves) && !is_ours(path)) move_aside(path);
}

void put_in_place_of_older(const std::string& unfinished, const std::string& path) {
  make_room(path);
  if (renameat2(AT_FDCWD, unfinished.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) return;
  remove_checkpoint(path);
  if (std::rename(unfinished.c_str(), path.c_str()) != 0)
    throw RunError(ExitCode::io, fmt::format("{}: cannot be put in place: {}", path, std::strerror(errno)));
}

}  // namespace

std::vector<CheckpointInfo> list_checkpoints(const std::string& folder) {
  std::vector<CheckpointInfo> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (const auto step = step_of(entry->path().filename().string())) found.push_back({entry->path().string(), *step});
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory &&
      error != std::errc::filename_too_long)
    throw SystemError(folder, "list the checkpoints", error.value());
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step > b.step; });
  return found;
}

std::vector<std::string> checkpoint_files() {
  std::vector<std::string> names(kFiles.begin(), kFiles.end());
  names.emplace_back(kManifest);
  return names;
}

std::string save_checkpoint(const std::string& folder, const Config& config, const ParameterSet& parameters,
                            const Optimizer& optimizer, const TrainingState& state) {
  const std::string path = folder + "/" + step_name(state.step);
  const std::string unfinished = unfinished_name(path);
  make_folder(folder);
  remove_checkpoint(unfinished);
  make_room(unfinished);
  make_new_folder(unfinished);
  try {
    write_files(unfinished, config, parameters, optimizer, state);
    put_in_place_of_older(unfinished, path);
    sync_directory(folder);
    remove_checkpoint(unfinished);  // the older one, after an exchange
  } catch (...) {
    remove_checkpoint(unfinished);
    throw;
  }
  return path;
}

void prune_checkpoints(const std::string& folder, std::int64_t keep_last, std::int64_t keep_step) {
  std::int64_t kept = 0;
  for (const CheckpointInfo& checkpoint : list_checkpoints(folder))
    if (is_ours(checkpoint.path) && ++kept > keep_last && checkpoint.step != keep_step)
      remove_checkpoint(checkpoint.path);
}

void remove_checkpoints_after(const std::string& folder, std::int64_t step) {
  for (const CheckpointInfo& checkpoint : list_checkpoints(folder))
    if (checkpoint.step > step) remove_checkpoint(checkpoint.path);
}

void remove_unfinished_checkpoints(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> doomed;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (is_unfinished(entry->path().filename().string())) doomed.push_back(entry->path().string());
  }
  for (const std::string& path : doomed) remove_checkpoint(path);
}

}  // namespace weir
