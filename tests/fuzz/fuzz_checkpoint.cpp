// A checkpoint: the input is an object of "manifest" and "state", its MANIFEST.json and state.json. A manifest that is
// an object gets the sizes and checksums of the files, so that the state is reached, and then the changes in "entries".
// The tensors hold the number "fill"; the file named in "missing" is not there. A state that is accepted is saved and
// loaded.
#include <fmt/format.h>
#include <xxhash.h>

#include <filesystem>
#include <limits>

#include "core/file.h"
#include "core/safetensors.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"
#include "train/checkpoint.h"
#include "train/optimizer/adamw.h"

using namespace weir;
using namespace weir::fuzz;

namespace {

constexpr const char* kTensorFiles[] = {"model.safetensors", "optimizer.safetensors", "memory.safetensors"};

Json entry_of(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {{"bytes", bytes.size()}, {"xxh3_128", fmt::format("{:016x}{:016x}", hash.high64, hash.low64)}};
}

// A checkpoint of one parameter, whose tensors stay the same.
class Checkpoint {
 public:
  Checkpoint() {
    parameters_.add("w", {2}, [](const Tensor&, const RandomStream&) {});
    parameters_.allocate(DType::float32, 1);
    optimizer_ = std::make_unique<AdamW>(parameters_, AdamW::Settings{});
    folder_.add("MANIFEST.json", manifest_);
    folder_.add("state.json", state_);
  }

  void set(const Json& input) {
    // A text is a file that is no JSON, or half of one.
    const Json& given = input.at("state");
    const std::string state = given.is_string() ? given.get<std::string>() : dump(given);
    state_.set(state);
    const Json fill = input.value("fill", Json(0)), missing = input.value("missing", Json());
    write_tensors(fill.is_number() ? fill.get<float>() : 0, missing.is_string() ? missing.get<std::string>() : "");
    Json manifest = input.at("manifest");
    if (manifest.is_object()) {
      manifest.update(entries_);
      manifest["state.json"] = entry_of(state);
      manifest.merge_patch(input.value("entries", Json::object()));
    }
    manifest_.set(dump(manifest));
  }

  void load() {
    accepts([&] {
      TrainingState state;
      load_checkpoint(folder_.path(), parameters_, *optimizer_, state);
      require(state.step >= 0 && state.tokens >= 0 && state.block >= 0, "a state counts from zero");
      save_and_load(checkpoint_config(folder_.path()), state);
    });
    accepts([&] { load_parameters(folder_.path(), parameters_); });
    accepts([&] {
      Notes notes;
      checkpoint_config(folder_.path(), {}, &notes);
    });
    accepts([&] { checkpoint_tokenizer(folder_.path()); });
  }

 private:
  void save_and_load(const Config& config, const TrainingState& state) {
    const std::string saved = save_checkpoint(copies_.path(), config, parameters_, *optimizer_, state);
    TrainingState again;
    load_checkpoint(saved, parameters_, *optimizer_, again);
    require(again.step == state.step && again.block == state.block && again.best_nats == state.best_nats &&
                again.tokenizer == state.tokenizer && again.memories.size() == state.memories.size() &&
                again.accepted == state.accepted && again.rollbacks == state.rollbacks &&
                again.held_back_nats == state.held_back_nats,
            "a state that is saved is loaded");
    require(checkpoint_config(saved) == config, "so is its configuration");
    remove_checkpoints_after(copies_.path(), -1);
  }

  void write_tensors(float fill, const std::string& missing) {
    if (fill == fill_ && missing == missing_) return;
    fill_ = fill;
    missing_ = missing;
    const Tensor two = Tensor::full({2}, fill, DType::float32);
    write(0, {{"w", two}});
    write(1, {{"m.w", two}, {"v.w", two}});
    write(2, {{"group0.layer0", two}, {"group0.layer1", two}});
    for (const char* file : kTensorFiles)
      if (missing == file) std::filesystem::remove(folder_.path() + "/" + file);
  }

  void write(std::size_t file, const std::vector<NamedTensor>& tensors) {
    const std::string path = folder_.path() + "/" + kTensorFiles[file];
    write_safetensors(path, tensors);
    entries_[kTensorFiles[file]] = entry_of(read_file(path, 1 << 20));
  }

  Folder folder_, copies_;
  MemoryFile manifest_, state_;
  Json entries_ = Json::object();
  float fill_ = std::numeric_limits<float>::quiet_NaN();  // nothing is written yet
  std::string missing_;
  ParameterSet parameters_;
  std::unique_ptr<AdamW> optimizer_;
};

}  // namespace

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  static Checkpoint checkpoint;
  const Json both = Json::parse(data, data + size, nullptr, false);
  if (!both.is_object() || !both.contains("manifest") || !both.contains("state")) return -1;
  checkpoint.set(both);
  checkpoint.load();
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  return mutate_json_file(data, size, max_size, seed);
}
