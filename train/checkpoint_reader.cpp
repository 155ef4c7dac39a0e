// Reads checkpoints; the writer is in train/checkpoint.cpp.
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <new>

#include "core/error.h"
#include "core/file.h"
#include "core/safetensors.h"
#include "core/stored_json.h"
#include "core/text.h"
#include "train/checkpoint.h"
#include "train/checkpoint_format.h"
#include "train/not_finite.h"

namespace weir {
namespace checkpoint {

// Read piece by piece, for there may be no room to map it.
std::string hash_of(const RandomAccessFile& file) {
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
  if (state == nullptr || XXH3_128bits_reset(state.get()) != XXH_OK) throw std::bad_alloc();
  std::vector<std::byte> piece(std::min<std::uint64_t>(file.size(), 1 << 18));
  for (std::uint64_t at = 0; at < file.size(); at += piece.size()) {
    const std::span into(piece.data(), std::min<std::uint64_t>(piece.size(), file.size() - at));
    file.read(at, into);
    XXH3_128bits_update(state.get(), into.data(), into.size());
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::vector<NamedTensor> parameter_tensors(const ParameterSet& parameters) {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : parameters.parameters()) tensors.push_back({p.name, p.value});
  return tensors;
}

std::vector<NamedTensor> model_tensors(const ParameterSet& parameters) {
  std::vector<NamedTensor> tensors = parameter_tensors(parameters);
  for (const Buffer& b : parameters.buffers()) tensors.push_back({b.name, b.value});
  return tensors;
}

std::string memory_name(std::size_t group, std::size_t layer) { return fmt::format("group{}.layer{}", group, layer); }

}  // namespace checkpoint

using namespace checkpoint;

namespace {

namespace fs = std::filesystem;

constexpr const char* kAdvice =
    "name an earlier checkpoint of the run (to resume from it, remove this one), or train it again";

void refuse_damaged(const std::string& path, const std::string& field, const std::string& why) {
  throw DamagedCheckpoint(path, field.empty() ? why : fmt::format("the field '{}': {}", printable(field), why));
}

// What checkpoints have had only since training looks for divergence.
void read_soundness(const StoredJson& object, TrainingState& state) {
  state.accepted = {};
  if (object.has("accepted_losses")) {
    state.accepted = {object.number_list("accepted_losses", SpikeDetector::kWindow),
                      object.number_list("accepted_gradient_norms", SpikeDetector::kWindow)};
    if (state.accepted.losses.size() != state.accepted.gradient_norms.size())
      object.refuse("accepted_losses", "expected as many numbers as in 'accepted_gradient_norms'");
  }
  if (!state.accepted.losses.empty()) state.accepted.lowest_loss = object.number("lowest_loss");
  state.rollbacks = object.has("rollbacks") ? object.count("rollbacks") : 0;
  state.held_back_nats.reset();
  if (object.has("held_back_nats")) state.held_back_nats = object.number("held_back_nats");
}

// state.json, once it is known to be of the format that this program reads.
StoredJson read_state(const std::string& state_path) {
  StoredJson object = StoredJson::read(state_path, kMaxJsonBytes, refuse_damaged);
  if (const std::int64_t format = object.count("format"); format != kFormat)
    throw DamagedCheckpoint(state_path, fmt::format("its format is {}, this program reads format {}", format, kFormat));
  return object;
}

void refuse(const std::string& file, const std::optional<std::string>& not_finite) {
  if (not_finite)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: the tensor {}: these weights compute nothing; {}", file, *not_finite, kAdvice));
}

// Checkpoints from before there were others are AdamW's.
void refuse_other_optimizer(const std::string& state_path, const StoredJson& object, const Optimizer& optimizer) {
  const std::string saved = object.has("optimizer") ? object.text("optimizer") : "adamw";
  if (saved != optimizer.kind())
    throw ArgumentError(
        fmt::format("{}: this run was trained with optimizer.kind = {}, whose state optimizer.kind = {} cannot take "
                    "over: set optimizer.kind = {}, or begin another run",
                    state_path, quote_short(saved), quote(optimizer.kind()), quote_short(saved)));
}

void load_weights(const std::string& path, const ParameterSet& parameters) {
  const std::string file_path = path + "/model.safetensors";
  const SafetensorsFile file(file_path);
  for (const NamedTensor& t : model_tensors(parameters)) file.load_into(t.name, t.tensor);
  refuse(file_path, first_not_finite(parameters.values(), parameter_tensors(parameters)));
  for (const Buffer& b : parameters.buffers()) refuse(file_path, first_not_finite(b.name, b.value));
}

void load_optimizer(const std::string& path, const Optimizer& optimizer) {
  const SafetensorsFile file(path);
  const std::vector<NamedTensor> into = optimizer.named_state();
  for (const NamedTensor& state : into) file.load_into(state.name, state.tensor);
  for (const StateArena& arena : optimizer.state()) refuse(path, first_not_finite(arena.values(), into));
}

}  // namespace

DamagedCheckpoint::DamagedCheckpoint(const std::string& file, const std::string& why)
    : RunError(ExitCode::bad_data, fmt::format("{}: {}; {}", file, why, kAdvice)),
      reason_(fmt::format("{}: {}", file, why)) {}

void verify_checkpoint(const std::string& path) {
  const std::string manifest_path = path + "/" + kManifest;
  const StoredJson manifest = StoredJson::read(manifest_path, kMaxJsonBytes, refuse_damaged);
  for (const char* name : kFiles) {
    const std::string file = path + "/" + name;
    if (!manifest.has(name)) throw DamagedCheckpoint(manifest_path, fmt::format("there is no entry for {}", name));
    const StoredJson entry = manifest.object(name);
    std::error_code ignored;
    if (fs::status(file, ignored).type() == fs::file_type::not_found)
      throw DamagedCheckpoint(file, "the file is missing");
    const RandomAccessFile contents(file, Empty::allowed);
    const auto size = static_cast<std::int64_t>(contents.size());
    if (const std::int64_t expected = entry.count("bytes"); size != expected)
      throw DamagedCheckpoint(file, fmt::format("it has {}, the manifest says {}", counted(size, "byte"), expected));
    if (hash_of(contents) != entry.text("xxh3_128"))
      throw DamagedCheckpoint(file, "its checksum differs from the manifest's");
  }
}

void load_parameters(const std::string& path, const ParameterSet& parameters) {
  verify_checkpoint(path);
  load_weights(path, parameters);
}

void load_checkpoint(const std::string& path, const ParameterSet& parameters, Optimizer& optimizer,
                     TrainingState& state) {
  verify_checkpoint(path);
  const std::string state_path = path + "/state.json";
  const StoredJson object = read_state(state_path);
  refuse_other_optimizer(state_path, object, optimizer);
  load_weights(path, parameters);
  load_optimizer(path + "/optimizer.safetensors", optimizer);
  const SafetensorsFile memory(path + "/memory.safetensors");
  optimizer.set_updates(object.count("updates"));
  state.step = object.count("step");
  state.tokens = object.count("tokens");
  state.epoch = object.count("epoch");
  state.block = object.count("block");
  state.seconds = object.number("seconds");
  state.data_tokens = object.count("data_tokens");
  state.data_checksum = object.text("data_checksum");
  state.tokenizer = checkpoint_tokenizer(path);
  state.bad_in_a_row = object.count("skipped_in_a_row");
  read_soundness(object, state);
  state.best_nats = object.number("best_nats");
  state.best_step = object.count("best_step", -1);
  // Older checkpoints were never saved in between.
  state.pending = object.has("pending") && object.flag("pending");
  state.memories.assign(static_cast<std::size_t>(object.count("memory_groups", 0, 1 << 20)), {});
  for (std::size_t g = 0; g < state.memories.size(); ++g)
    for (std::size_t l = 0; memory.has(memory_name(g, l)); ++l)
      state.memories[g].layers.push_back(to_device(memory.load(memory_name(g, l)), parameters.values().device()));
}

Config checkpoint_config(const std::string& path, std::span<const std::string> overrides, Notes* notes) {
  const std::string state_path = path + "/state.json";
  const std::string text = read_state(state_path).text("config");
  try {
    const Config stored = parse_stored_config(text, state_path);
    if (overrides.empty() && notes == nullptr) return stored;
  } catch (const ArgumentError& error) {
    throw DamagedCheckpoint(state_path, fmt::format("the field 'config': {}", error.what()));
  }
  return parse_stored_config(text, state_path, overrides, notes);
}

std::string checkpoint_tokenizer(const std::string& path) {
  const std::string state_path = path + "/state.json";
  const std::string name = read_state(state_path).text("tokenizer");
  if (!is_byte_tokenizer(name) && name != "tokenizer.model" && name != "tokenizer.json")
    throw DamagedCheckpoint(state_path, fmt::format("the field 'tokenizer' is '{}', expected bytes, tokenizer.model or "
                                                    "tokenizer.json",
                                                    printable(name)));
  return name;
}

}  // namespace weir
