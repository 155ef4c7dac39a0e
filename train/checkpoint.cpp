#include "train/checkpoint.h"

#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/safetensors.h"
#include "core/text.h"

namespace weir {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kManifest = "MANIFEST.json";
constexpr std::array kFiles = {"model.safetensors", "optimizer.safetensors", "memory.safetensors", "state.json"};
constexpr int kFormat = 2;
constexpr std::uint64_t kMaxJsonBytes = 1 << 20;

std::string step_name(std::int64_t step) { return fmt::format("step_{:08d}", step); }

// The step of a finished checkpoint's name, "step_" and digits; nothing for other names.
std::optional<std::int64_t> step_of(const std::string& name) {
  std::int64_t step = 0;
  if (!name.starts_with("step_")) return std::nullopt;
  const char *const begin = name.data() + 5, *const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  return error == std::errc() && stop == end && begin != end && step >= 0 ? std::optional(step) : std::nullopt;
}

std::string hash_of(const std::string& path) {
  const MappedFile file(path);
  const XXH128_hash_t hash = XXH3_128bits(file.bytes().data(), file.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

RunError damaged(const std::string& path, const std::string& why) {
  return RunError(ExitCode::bad_data, fmt::format("{}: {}; use another checkpoint of the run", path, why));
}

json read_json(const std::string& path) {
  const std::string text = read_file(path, kMaxJsonBytes, Empty::allowed);
  if (!text.ends_with("}\n")) throw damaged(path, "its end is missing");
  json value = json::parse(text, nullptr, false);
  if (!value.is_object()) throw damaged(path, "this is not a JSON object");
  return value;
}

template <class T>
T member(const json& object, const std::string& path, const char* name) {
  const auto place = object.find(name);
  bool right = place != object.end();
  if constexpr (std::is_same_v<T, std::string>)
    right = right && place->is_string();
  else if constexpr (std::is_integral_v<T>)
    right = right && place->is_number_integer();
  else
    right = right && place->is_number();
  if (!right) throw damaged(path, fmt::format("the field '{}' is missing or has another type", name));
  return place->get<T>();
}

// A whole number from 0 up to `largest`.
std::int64_t count(const json& object, const std::string& path, const char* name,
                   std::int64_t largest = std::int64_t{1} << 53) {
  const auto value = member<std::int64_t>(object, path, name);
  if (value < 0 || value > largest)
    throw damaged(path, fmt::format("the field '{}' is {}, expected 0 to {}", name, value, largest));
  return value;
}

std::vector<NamedTensor> parameter_tensors(const ParameterSet& parameters) {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : parameters.parameters()) tensors.push_back({p.name, p.value});
  return tensors;
}

std::vector<NamedTensor> moment_tensors(const ParameterSet& parameters, const AdamW& optimizer) {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : parameters.parameters()) {
    tensors.push_back({"m." + p.name, parameters.view_in(optimizer.first_moment(), p)});
    tensors.push_back({"v." + p.name, parameters.view_in(optimizer.second_moment(), p)});
  }
  return tensors;
}

std::string memory_name(std::size_t group, std::size_t layer) { return fmt::format("group{}.layer{}", group, layer); }

std::vector<NamedTensor> memory_tensors(const TrainingState& state) {
  std::vector<NamedTensor> tensors;
  for (std::size_t g = 0; g < state.memories.size(); ++g)
    for (std::size_t l = 0; l < state.memories[g].layers.size(); ++l)
      tensors.push_back({memory_name(g, l), state.memories[g].layers[l]});
  return tensors;
}

void write_files(const std::string& folder, const Config& config, const ParameterSet& parameters,
                 const AdamW& optimizer, const TrainingState& state) {
  write_safetensors(folder + "/model.safetensors", parameter_tensors(parameters), {{"format", "pt"}});
  write_safetensors(folder + "/optimizer.safetensors", moment_tensors(parameters, optimizer));
  write_safetensors(folder + "/memory.safetensors", memory_tensors(state));
  const json object = {{"format", kFormat},
                       {"config", to_toml(config)},
                       {"step", state.step},
                       {"updates", optimizer.updates()},
                       {"tokens", state.tokens},
                       {"epoch", state.epoch},
                       {"block", state.block},
                       {"seconds", state.seconds},
                       {"data_tokens", state.data_tokens},
                       {"data_checksum", state.data_checksum},
                       {"tokenizer", state.tokenizer},
                       {"skipped_in_a_row", state.skipped_in_a_row},
                       {"best_nats", state.best_nats},
                       {"best_step", state.best_step},
                       {"memory_groups", state.memories.size()}};
  write_file_synced(folder + "/state.json", object.dump(1) + "\n");
  json manifest = json::object();
  for (const char* name : kFiles) {
    const std::string path = folder + "/" + name;
    manifest[name] = {{"bytes", fs::file_size(path)}, {"xxh3_128", hash_of(path)}};
  }
  write_file_synced(folder + "/" + kManifest, manifest.dump(1) + "\n");
  sync_directory(folder);
}

void make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    throw RunError(ExitCode::io,
                   fmt::format("{}: cannot create the folder: {}; choose another --run folder", path, error.message()));
}

// The manifest goes first: without it the rest is no checkpoint.
void remove_checkpoint(const std::string& path) {
  std::error_code ignored;
  fs::remove(path + "/" + kManifest, ignored);
  fs::remove_all(path, ignored);
}

// state.json, once it is known to be of the format that this program reads.
json read_state(const std::string& state_path) {
  json object = read_json(state_path);
  if (const auto format = member<std::int64_t>(object, state_path, "format"); format != kFormat)
    throw damaged(state_path, fmt::format("its format is {}, this program reads format {}", format, kFormat));
  return object;
}

}  // namespace

std::vector<CheckpointInfo> list_checkpoints(const std::string& folder) {
  std::vector<CheckpointInfo> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (const auto step = step_of(entry->path().filename().string())) found.push_back({entry->path().string(), *step});
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step > b.step; });
  return found;
}

void verify_checkpoint(const std::string& path) {
  const std::string manifest_path = path + "/" + kManifest;
  const json manifest = read_json(manifest_path);
  for (const char* name : kFiles) {
    const std::string file = path + "/" + name;
    if (!manifest.contains(name) || !manifest[name].is_object())
      throw damaged(manifest_path, fmt::format("there is no entry for {}", name));
    std::error_code error;
    const auto size = static_cast<std::int64_t>(fs::file_size(file, error));
    if (error) throw damaged(file, "the file is missing");
    const auto expected = member<std::int64_t>(manifest[name], manifest_path, "bytes");
    if (size != expected) throw damaged(file, fmt::format("it has {} bytes, the manifest says {}", size, expected));
    if (hash_of(file) != member<std::string>(manifest[name], manifest_path, "xxh3_128"))
      throw damaged(file, "its checksum differs from the manifest's");
  }
}

std::string save_checkpoint(const std::string& folder, const Config& config, const ParameterSet& parameters,
                            const AdamW& optimizer, const TrainingState& state) {
  const std::string path = folder + "/" + step_name(state.step);
  const std::string unfinished = fmt::format("{}.tmp-{}", path, getpid());
  make_folder(folder);
  remove_checkpoint(unfinished);
  make_folder(unfinished);
  try {
    write_files(unfinished, config, parameters, optimizer, state);
    remove_checkpoint(path);
    if (std::rename(unfinished.c_str(), path.c_str()) != 0)
      throw RunError(ExitCode::io, fmt::format("{}: cannot be put in place: {}", path, std::strerror(errno)));
    sync_directory(folder);
  } catch (...) {
    remove_checkpoint(unfinished);
    throw;
  }
  return path;
}

void load_parameters(const std::string& path, const ParameterSet& parameters) {
  verify_checkpoint(path);
  const SafetensorsFile file(path + "/model.safetensors");
  for (const Parameter& p : parameters.parameters()) file.load_into(p.name, p.value);
}

void load_checkpoint(const std::string& path, const ParameterSet& parameters, AdamW& optimizer, TrainingState& state) {
  load_parameters(path, parameters);
  const SafetensorsFile moments(path + "/optimizer.safetensors"), memory(path + "/memory.safetensors");
  for (const NamedTensor& moment : moment_tensors(parameters, optimizer)) moments.load_into(moment.name, moment.tensor);
  const std::string state_path = path + "/state.json";
  const json object = read_state(state_path);
  optimizer.set_updates(count(object, state_path, "updates"));
  state.step = count(object, state_path, "step");
  state.tokens = count(object, state_path, "tokens");
  state.epoch = count(object, state_path, "epoch");
  state.block = count(object, state_path, "block");
  state.seconds = member<double>(object, state_path, "seconds");
  state.data_tokens = count(object, state_path, "data_tokens");
  state.data_checksum = member<std::string>(object, state_path, "data_checksum");
  state.tokenizer = checkpoint_tokenizer(path);
  state.skipped_in_a_row = count(object, state_path, "skipped_in_a_row");
  state.best_nats = member<double>(object, state_path, "best_nats");
  state.best_step = member<std::int64_t>(object, state_path, "best_step");
  state.memories.assign(static_cast<std::size_t>(count(object, state_path, "memory_groups", 1 << 20)), {});
  for (std::size_t g = 0; g < state.memories.size(); ++g)
    for (std::size_t l = 0; memory.has(memory_name(g, l)); ++l)
      state.memories[g].layers.push_back(to_device(memory.load(memory_name(g, l)), parameters.values().device()));
}

Config checkpoint_config(const std::string& path) {
  const std::string state_path = path + "/state.json";
  const json object = read_state(state_path);
  return parse_config(member<std::string>(object, state_path, "config"), state_path);
}

std::string checkpoint_tokenizer(const std::string& path) {
  const std::string state_path = path + "/state.json";
  const auto name = member<std::string>(read_state(state_path), state_path, "tokenizer");
  if (name != "bytes" && name != "tokenizer.model" && name != "tokenizer.json")
    throw damaged(state_path, fmt::format("the field 'tokenizer' is '{}', expected bytes, tokenizer.model or "
                                          "tokenizer.json",
                                          printable(name)));
  return name;
}

void prune_checkpoints(const std::string& folder, std::int64_t keep_last, std::int64_t keep_step) {
  std::int64_t kept = 0;
  for (const CheckpointInfo& checkpoint : list_checkpoints(folder))
    if (++kept > keep_last && checkpoint.step != keep_step) remove_checkpoint(checkpoint.path);
}

void remove_checkpoints_after(const std::string& folder, std::int64_t step) {
  for (const CheckpointInfo& checkpoint : list_checkpoints(folder))
    if (checkpoint.step > step) remove_checkpoint(checkpoint.path);
}

void remove_unfinished_checkpoints(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> doomed;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (step_of(name.substr(0, name.find(".tmp-"))) && !step_of(name)) doomed.push_back(entry->path().string());
  }
  for (const std::string& path : doomed) remove_checkpoint(path);
}

}  // namespace weir
