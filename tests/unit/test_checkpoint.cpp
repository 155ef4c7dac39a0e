// Checkpoints: what is saved comes back bit for bit, damage is noticed, and files go only when they may.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/file.h"
#include "models/transformer_xl.h"
#include "ops/support/samples.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/checkpoint.h"
#include "train/optimizer/adamw.h"
#include "train/run_directory.h"

using namespace weir;
namespace fs = std::filesystem;

namespace {

const char* const kFiles[] = {"model.safetensors", "optimizer.safetensors", "memory.safetensors", "state.json",
                              "MANIFEST.json"};

constexpr std::int64_t kManyBits = 48;  // of d_model: about 300,000

Config small_config(std::int64_t d_model = 3) {
  Config config;
  config.name = "checkpoint-test";
  config.model = {.vocabulary = 5, .d_model = d_model, .layers = 1, .heads = 1, .head_size = 3, .segment = 4};
  config.feedforward = {.kind = "dense", .d_ff = 5};
  config.train.steps = 100;
  resolve(config);
  return config;
}

// A model with its optimiser after `updates` made-up steps.
struct Trained {
  explicit Trained(const Config& config, std::uint64_t seed = 1, int updates = 0)
      : model(config.model, config.feedforward) {
    model.initialise(seed);
    optimizer.emplace(model.parameters(), AdamW::Settings{});
    for (int i = 0; i < updates; ++i) {
      for (const Parameter& p : model.parameters().parameters())
        copy_into(random_tensor(p.shape, static_cast<std::uint64_t>(i)), gradient(p.value));
      optimizer->step(0.1, 1);
    }
  }
  TransformerXl model;
  std::optional<AdamW> optimizer;
};

Tensor activations(const Shape& shape, std::uint64_t seed, DType dtype = DType::float32) {
  return converted(random_tensor(shape, seed), dtype);
}

TrainingState some_state() {
  TrainingState state;
  state.step = 37;
  state.tokens = 4096;
  state.epoch = 2;
  state.block = 5;
  state.seconds = 12.0625;
  state.data_tokens = 123456;
  state.tokenizer = "tokenizer.model";
  state.data_checksum = "00112233445566778899aabbccddeeff";
  state.bad_in_a_row = 3;
  state.accepted = {.losses = {2.0 / 3, 0.1}, .gradient_norms = {1e-300, 7}, .lowest_loss = 0.1};
  state.rollbacks = 2;
  state.held_back_nats = 1.0 / 7;
  state.best_nats = 1.0 / 3;
  state.best_step = 30;
  // Two layers in the first group, another length in the second, none in the third.
  state.memories.resize(3);
  state.memories[0].layers = {activations({2, 3, 3}, 7), activations({2, 3, 3}, 8)};
  state.memories[1].layers = {activations({2, 5, 3}, 9, DType::bf16)};
  return state;
}

std::string saved_example(const std::string& folder, std::int64_t d_model = 3) {
  const Config config = small_config(d_model);
  const Trained trained(config, 1, 3);
  return save_checkpoint(folder, config, trained.model.parameters(), *trained.optimizer, some_state());
}

void make_file(const std::string& path, const std::string& text = "x") {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << text;
}

// A folder that is Weir's, by its manifest.
void make_checkpoint(const std::string& path) {
  make_file(path + "/MANIFEST.json", R"({"model.safetensors": {}, "state.json": {}})");
  make_file(path + "/model.safetensors");
}

void overwrite(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// WEIR_DAMAGES=1000000 tries every bit and every length of the checkpoint instead of so many of each file.
std::size_t stride(std::size_t places) {
  const char* const wanted = std::getenv("WEIR_DAMAGES");
  return places / std::max(wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : 450, 1ul) |
         1;  // over all eight bits
}

// In place: truncating a file and writing it anew costs some file systems a trip to the disk.
void put_byte(const std::string& path, std::size_t place, char byte) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(place)).put(byte);
}

// Whether `call` is refused as damaged data with a message that names `file`.
template <class Call>
bool refused(Call&& call, const std::string& file) {
  try {
    call();
  } catch (const RunError& error) {
    return error.code() == ExitCode::bad_data && std::string(error.what()).find(file) != std::string::npos;
  }
  return false;
}

std::vector<std::int64_t> steps_in(const std::string& folder) {
  std::vector<std::int64_t> steps;
  for (const CheckpointInfo& info : list_checkpoints(folder)) steps.push_back(info.step);
  return steps;
}

}  // namespace

TEST_CASE("checkpoint: everything comes back bit for bit") {
  const TemporaryDirectory folder;
  const Config config = small_config();
  const Trained saved(config, 1, 3);
  const TrainingState state = some_state();
  const std::string path = save_checkpoint(folder.path(), config, saved.model.parameters(), *saved.optimizer, state);
  CHECK(path == folder / "step_00000037");
  CHECK(folder.entries() == 1);
  Trained loaded(config, 2);
  TrainingState back;
  load_checkpoint(path, loaded.model.parameters(), *loaded.optimizer, back);
  CHECK(same_bits(loaded.model.parameters().values(), saved.model.parameters().values()));
  CHECK(same_bits(loaded.optimizer->state("m").values(), saved.optimizer->state("m").values()));
  CHECK(same_bits(loaded.optimizer->state("v").values(), saved.optimizer->state("v").values()));
  CHECK(loaded.optimizer->updates() == 3);
  CHECK(back.step == state.step);
  CHECK(back.tokens == state.tokens);
  CHECK(back.epoch == state.epoch);
  CHECK(back.block == state.block);
  CHECK(back.seconds == state.seconds);
  CHECK(back.data_tokens == state.data_tokens);
  CHECK(back.tokenizer == state.tokenizer);
  CHECK(back.data_checksum == state.data_checksum);
  CHECK(back.bad_in_a_row == state.bad_in_a_row);
  CHECK(back.accepted == state.accepted);
  CHECK(back.rollbacks == state.rollbacks);
  CHECK(back.held_back_nats == state.held_back_nats);
  CHECK(back.best_nats == state.best_nats);
  CHECK(back.best_step == state.best_step);
  REQUIRE(back.memories.size() == state.memories.size());
  for (std::size_t g = 0; g < state.memories.size(); ++g) {
    REQUIRE(back.memories[g].layers.size() == state.memories[g].layers.size());
    for (std::size_t l = 0; l < state.memories[g].layers.size(); ++l)
      CHECK(same_bits(back.memories[g].layers[l], state.memories[g].layers[l]));
  }
  CHECK(checkpoint_config(path) == config);
  const Trained weights_only(config, 3);
  load_parameters(path, weights_only.model.parameters());
  CHECK(same_bits(weights_only.model.parameters().values(), saved.model.parameters().values()));
}

TEST_CASE("checkpoint: the same state gives the same bytes") {
  const TemporaryDirectory a, b;
  const std::string first = saved_example(a.path()), second = saved_example(b.path());
  for (const char* name : kFiles) {
    CAPTURE(name);
    CHECK(read_file(first + "/" + name, 1 << 20) == read_file(second + "/" + name, 1 << 20));
  }
}

TEST_CASE("checkpoint: another model's is refused") {
  const TemporaryDirectory folder;
  const std::string path = saved_example(folder.path());
  Config config = small_config();
  config.feedforward.d_ff = 6;
  Trained other(config);
  CHECK(refused([&] { load_parameters(path, other.model.parameters()); }, "model.safetensors"));
}

TEST_CASE("checkpoint: any flipped bit is noticed") {
  const TemporaryDirectory folder;
  const std::string path = saved_example(folder.path(), kManyBits);
  std::size_t flips = 0, missed = 0;
  for (const std::string name : kFiles) {
    const std::string file = path + "/" + name, bytes = read_file(file, 1 << 20);
    // A damaged manifest may blame the file whose entry it changes.
    const std::string named = name == "MANIFEST.json" ? path : file;
    for (std::size_t bit = 0; bit < 8 * bytes.size(); bit += stride(8 * bytes.size())) {
      const std::size_t place = bit / 8;
      put_byte(file, place, static_cast<char>(bytes[place] ^ (1 << bit % 8)));
      ++flips;
      if (!refused([&] { verify_checkpoint(path); }, named)) {
        ++missed;
        MESSAGE(name << " bit " << bit);
      }
      put_byte(file, place, bytes[place]);
    }
    CHECK(read_file(file, 1 << 20) == bytes);
  }
  MESSAGE(flips << " flipped bits");
  CHECK(flips >= 2000);
  CHECK(missed == 0);
  verify_checkpoint(path);
}

TEST_CASE("checkpoint: nothing of a damaged one reaches the model") {
  const TemporaryDirectory folder;
  const std::string path = saved_example(folder.path());
  Trained target(small_config(), 2);
  const Tensor before = clone(target.model.parameters().values());
  std::string bytes = read_file(path + "/memory.safetensors", 1 << 20);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  overwrite(path + "/memory.safetensors", bytes);
  TrainingState state;
  CHECK(refused([&] { load_checkpoint(path, target.model.parameters(), *target.optimizer, state); },
                "memory.safetensors"));
  CHECK(refused([&] { load_parameters(path, target.model.parameters()); }, "memory.safetensors"));
  CHECK(same_bits(target.model.parameters().values(), before));
}

TEST_CASE("checkpoint: any truncation is noticed, and so is a missing file") {
  const TemporaryDirectory folder;
  const std::string path = saved_example(folder.path(), kManyBits);
  std::size_t cut = 0, missed = 0;
  for (const std::string name : kFiles) {
    CAPTURE(name);
    const std::string file = path + "/" + name, bytes = read_file(file, 1 << 20);
    const bool is_manifest = name == "MANIFEST.json";  // which is whole without its line end
    for (std::size_t less = is_manifest ? 2 : 1; less <= bytes.size(); less += stride(bytes.size())) {
      fs::resize_file(file, bytes.size() - less);
      ++cut;
      missed += !refused([&] { verify_checkpoint(path); }, file);
    }
    overwrite(file, bytes + "\n");
    if (!is_manifest) CHECK(refused([&] { verify_checkpoint(path); }, file));
    fs::remove(file);
    CHECK_THROWS_AS(verify_checkpoint(path), RunError);
    overwrite(file, bytes);
  }
  MESSAGE(cut << " files cut short");
  CHECK(cut >= 1500);
  CHECK(missed == 0);
  verify_checkpoint(path);
}

TEST_CASE("checkpoint: one that cannot be looked at just now is not passed over") {
  const TemporaryDirectory folder;
  const std::string path = saved_example(folder / "checkpoints");
  const auto code_without_files = [&](auto&& call) {
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    const rlimit none{0, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    std::optional<ExitCode> code;
    try {
      call();
    } catch (const RunError& error) {
      code = error.code();
    }
    setrlimit(RLIMIT_NOFILE, &before);
    return code;
  };
  CHECK(code_without_files([&] { list_checkpoints(folder / "checkpoints"); }) == ExitCode::io);
  CHECK(code_without_files([&] { verify_checkpoint(path); }) == ExitCode::io);
  CHECK(list_checkpoints(folder / "elsewhere").empty());
  CHECK(newest_valid_checkpoint(folder.path())->path == path);
  fs::remove(path + "/state.json");
  CHECK(refused([&] { newest_valid_checkpoint(folder.path()); }, "state.json"));
}

TEST_CASE("checkpoint: numbers out of range are refused even under a right checksum") {
  // As a hostile program would write it: the manifest made anew for a changed state.json.
  const TemporaryDirectory folder;
  const Config config = small_config();
  const Trained trained(config);
  for (auto change : {+[](TrainingState& s) { s.block = -1; }, +[](TrainingState& s) { s.step = -5; },
                      +[](TrainingState& s) { s.tokens = std::int64_t{1} << 60; }}) {
    TrainingState state = some_state(), back;
    change(state);
    const std::string path =
        save_checkpoint(folder.path(), config, trained.model.parameters(), *trained.optimizer, state);
    Trained target(config);
    CHECK(refused([&] { load_checkpoint(path, target.model.parameters(), *target.optimizer, back); }, "state.json"));
  }
}

TEST_CASE("checkpoint: listed newest first, by name") {
  const TemporaryDirectory folder;
  CHECK(list_checkpoints(folder / "nothing").empty());
  for (const char* name : {"step_00000002", "step_00000100", "step_123456789", "step_7"})
    make_file(folder / name + "/MANIFEST.json");
  for (const char* name : {"step_", "step_x3", "step_12.tmp-4", "step_-3", "other_5", "step_3x"})
    make_file(folder / name + "/MANIFEST.json");
  make_file(folder / "step_00000050" + "/model.safetensors");  // damaged: it has no manifest
  CHECK(steps_in(folder.path()) == std::vector<std::int64_t>{123456789, 100, 50, 7, 2});
  CHECK(list_checkpoints(folder.path())[1].path == folder / "step_00000100");
}

TEST_CASE("checkpoint: pruning keeps the newest and the best") {
  const TemporaryDirectory folder;
  for (int step : {10, 20, 30, 40, 50}) make_checkpoint(folder / fmt::format("step_{:08d}", step));
  make_file(folder / "notes.txt");
  prune_checkpoints(folder.path(), 2, 20);
  CHECK(steps_in(folder.path()) == std::vector<std::int64_t>{50, 40, 20});
  prune_checkpoints(folder.path(), 2, 50);
  CHECK(steps_in(folder.path()) == std::vector<std::int64_t>{50, 40});
  prune_checkpoints(folder.path(), 1, -1);
  CHECK(steps_in(folder.path()) == std::vector<std::int64_t>{50});
  CHECK(folder.entries() == 2);
}

TEST_CASE("checkpoint: saving again replaces, and a failed save leaves the old one") {
  const TemporaryDirectory folder;
  const Config config = small_config();
  const Trained first(config, 1), second(config, 2);
  const std::string path =
      save_checkpoint(folder.path(), config, first.model.parameters(), *first.optimizer, some_state());
  save_checkpoint(folder.path(), config, second.model.parameters(), *second.optimizer, some_state());
  Trained back(config, 3);
  load_parameters(path, back.model.parameters());
  CHECK(same_bits(back.model.parameters().values(), second.model.parameters().values()));
  CHECK(folder.entries() == 1);
  make_file(folder / "file");
  CHECK_THROWS_AS(save_checkpoint(folder / "file", config, first.model.parameters(), *first.optimizer, some_state()),
                  RunError);
  verify_checkpoint(path);
}

TEST_CASE("checkpoint: unfinished ones go, nothing else does") {
  const TemporaryDirectory folder;
  const std::string unfinished = folder / "step_00000007.tmp-4711", emptied = folder / "step_00000008.tmp-4711";
  const std::string foreign = folder / "notes.tmp-4711", named = folder / "step_7.tmp-notes",
                    unmarked = folder / "step_00000009.tmp-1", damaged = folder / "step_00000005",
                    complete = folder / "step_00000006";
  for (const std::string& path : {unfinished, foreign, named, complete}) make_checkpoint(path);
  make_file(unfinished + "/.MANIFEST.json.tmp-4711");
  fs::create_directory(emptied);
  for (const std::string& path : {unmarked, damaged}) make_file(path + "/model.safetensors");
  remove_unfinished_checkpoints(folder.path());
  for (const std::string& path : {unfinished, emptied}) CHECK_FALSE(fs::exists(path));
  for (const std::string& path : {foreign, named, unmarked, damaged, complete}) CHECK(fs::exists(path));
}

TEST_CASE("checkpoint: what only has the name of one is never removed") {
  const TemporaryDirectory folder, elsewhere;
  const auto names = {"a_note", "a_folder", "a_link", "wrong_manifest", "linked_manifest", "no_manifest"};
  const auto step = [&](std::size_t i) { return folder / fmt::format("step_{:08d}", i + 1); };
  for (std::size_t i = 0; i < names.size(); ++i) make_checkpoint(step(i));
  make_file(step(0) + "/note.txt", "mine");
  make_file(step(1) + "/chapters/one.txt", "mine");
  make_checkpoint(elsewhere / "mine");
  fs::remove_all(step(2));
  fs::create_directory_symlink(elsewhere / "mine", step(2));
  make_file(step(3) + "/MANIFEST.json", R"({"thesis.tex": {}})");
  make_file(step(3) + "/thesis.tex", "mine");
  fs::rename(step(4) + "/MANIFEST.json", elsewhere / "MANIFEST.json");
  fs::create_symlink(elsewhere / "MANIFEST.json", step(4) + "/MANIFEST.json");
  fs::remove(step(5) + "/MANIFEST.json");
  make_checkpoint(step(6));
  make_checkpoint(step(7));
  const auto there = [&] {
    std::size_t files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder.path())) files += !entry.is_directory();
    return files;
  };
  const std::size_t before = there();
  prune_checkpoints(folder.path(), 1, -1);     // step 7 goes: two files
  remove_checkpoints_after(folder.path(), 0);  // and step 8
  CHECK(there() == before - 4);
  for (std::size_t i = 0; i < names.size(); ++i) CHECK(fs::exists(step(i) + "/model.safetensors"));
  CHECK(fs::exists(elsewhere / "mine/model.safetensors"));
}

TEST_CASE("checkpoint: what stands in the way of one and is none is kept under another name") {
  const TemporaryDirectory folder;
  make_file(folder / "step_00000037/note.txt", "mine");
  make_file(folder / "step_00000037.kept-1/note.txt", "older");
  const std::string path = saved_example(folder.path());
  verify_checkpoint(path);
  CHECK(read_file(folder / "step_00000037.kept-2/note.txt", 10) == "mine");
  CHECK(read_file(folder / "step_00000037.kept-1/note.txt", 10) == "older");
  CHECK(folder.entries() == 3);
}

TEST_CASE("checkpoint: a pipe in the place of any file is refused at once") {
  const TemporaryDirectory folder;
  const std::string path = saved_example(folder.path());
  for (const std::string name : kFiles) {
    CAPTURE(name);
    fs::rename(path + "/" + name, folder / "aside");
    REQUIRE(::mkfifo((path + "/" + name).c_str(), 0600) == 0);
    CHECK_THROWS_WITH_AS(verify_checkpoint(path), doctest::Contains((name + ": this is a pipe").c_str()), RunError);
    fs::remove(path + "/" + name);
    fs::rename(folder / "aside", path + "/" + name);
  }
  verify_checkpoint(path);
}
