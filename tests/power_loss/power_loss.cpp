// A power cut at every call of a run's saves: what is found afterwards must be the last checkpoint that was saved, or
// the one that was being saved, whole and with its own weights; and the run must be able to save again.
//
//   power_loss [SEEDS]   each boundary and kind of loss is tried so often (2)
//
// The calls of a small run are recorded once. Then a model of a disk (disk.h) is given the calls up to each boundary,
// and what it may have kept is put into a folder and looked at by the library's own code. That this can fail is shown
// by the same calls without syncs, with the rename first, and with the older checkpoints removed first.
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/file.h"
#include "disk.h"
#include "models/transformer_xl.h"
#include "ops/support/samples.h"
#include "recorded_calls.h"
#include "train/checkpoint.h"
#include "train/optimizer/adamw.h"
#include "train/run_directory.h"

namespace weir {
namespace {

namespace fs = std::filesystem;
using Kind = Call::Kind;

constexpr const char* kRun = "runs/x";
constexpr struct {
  Loss loss;
  const char* name;
} kLosses[] = {{Loss::everything, "all of it lost"},
               {Loss::some, "some of it lost"},
               {Loss::torn, "writes torn"},
               {Loss::names, "names lost"}};

Config small_config() {
  Config config;
  config.name = "power-loss";
  config.model = {.vocabulary = 256, .d_model = 4, .layers = 1, .heads = 1, .head_size = 4, .segment = 4};
  config.feedforward = {.kind = "dense", .d_ff = 4};
  config.train.steps = 100;
  resolve(config);
  return config;
}

struct Training {
  Training() : config(small_config()), model(config.model, config.feedforward) {
    model.initialise(1);
    optimizer.emplace(model.parameters(), AdamW::Settings{});
  }
  void step() {
    for (const Parameter& p : model.parameters().parameters())
      copy_into(random_tensor(p.shape, static_cast<std::uint64_t>(state.step)), gradient(p.value));
    optimizer->step(0.1, 1);
    ++state.step;
  }
  std::string save(const std::string& run) const {
    return save_checkpoint(run + "/checkpoints", config, model.parameters(), *optimizer, state);
  }
  std::string weights() const {
    const Tensor values = model.parameters().values();
    return {static_cast<const char*>(values.raw()), static_cast<std::size_t>(values.numel()) * sizeof(float)};
  }

  Config config;
  TransformerXl model;
  std::optional<AdamW> optimizer;
  TrainingState state;
};

struct Recorded {
  std::vector<Call> calls;
  std::map<std::int64_t, std::string> weights;  // by step
};

// Five steps, each saved; the third one twice, as after an evaluation that was put off.
Recorded record_run(const std::string& folder) {
  Recorded recorded;
  Training training;
  start_recording(folder);
  const std::string path = folder + "/" + kRun;
  const RunDirectory run(path);
  write_file_atomically(run.file("config.toml"), to_toml(training.config));
  for (const std::int64_t saved : {1, 2, 3, 3, 4, 5}) {
    if (training.state.step < saved) training.step();
    training.save(path);
    acknowledge(saved);
    prune_checkpoints(run.checkpoints(), 1, saved > 3 ? 2 : -1);
    recorded.weights[saved] = training.weights();
  }
  recorded.calls = stop_recording();
  return recorded;
}

void put_down(const std::map<std::string, std::string>& files, const std::string& folder) {
  fs::remove_all(folder);
  fs::create_directories(folder);
  for (const auto& [path, contents] : files) {
    if (path.ends_with('/'))
      fs::create_directory(folder + "/" + path);
    else
      std::ofstream(folder + "/" + path, std::ios::binary) << contents;
  }
}

// What is wrong with what was found; empty where it is right.
std::string judge(const std::string& run, const Recorded& recorded, std::optional<std::int64_t> saved,
                  std::optional<std::int64_t> being_saved) {
  std::optional<CheckpointInfo> newest;
  try {
    newest = newest_valid_checkpoint(run);
  } catch (const RunError& error) {
    return error.what();
  }
  if (!newest) return saved ? fmt::format("step {} was saved, and nothing is found", *saved) : "";
  if (newest->step != saved && newest->step != being_saved) return fmt::format("step {} is found", newest->step);
  Training resumed;
  load_checkpoint(newest->path, resumed.model.parameters(), *resumed.optimizer, resumed.state);
  if (resumed.weights() != recorded.weights.at(newest->step))
    return fmt::format("step {} has the weights of another", newest->step);
  remove_unfinished_checkpoints(run + "/checkpoints");
  resumed.step();
  resumed.save(run);
  newest = newest_valid_checkpoint(run);
  return newest && newest->step == resumed.state.step ? "" : "it cannot be saved again";
}

struct Outcome {
  int boundaries = 0, losses = 0, lost = 0;
  std::string first, why;  // the first that was lost
};

// The step of the next mark, if there is one.
std::optional<std::int64_t> next_saved(const std::vector<Call>& calls, std::size_t begin) {
  for (std::size_t i = begin; i < calls.size(); ++i)
    if (calls[i].kind == Kind::acknowledge) return static_cast<std::int64_t>(calls[i].offset);
  return std::nullopt;
}

enum class Until { the_end, something_is_lost };

Outcome cut_the_power(const Recorded& recorded, const std::vector<Call>& calls, const std::string& folder, int seeds,
                      Until until) {
  Outcome outcome;
  Disk disk;
  std::optional<std::int64_t> saved;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    disk.apply(calls[i]);
    if (calls[i].kind == Kind::acknowledge) saved = static_cast<std::int64_t>(calls[i].offset);
    ++outcome.boundaries;
    for (const auto& [loss, name] : kLosses)
      for (int seed = 0; seed < seeds; ++seed) {
        std::mt19937 random(static_cast<unsigned>(seed) * 7919 + static_cast<unsigned>(i));
        put_down(disk.after_power_loss(loss, random), folder);
        ++outcome.losses;
        const std::string wrong = judge(folder + "/" + kRun, recorded, saved, next_saved(calls, i + 1));
        if (wrong.empty()) continue;
        if (++outcome.lost == 1) {
          outcome.first = fmt::format("call {} ('{}', {})", i, calls[i].path, name);
          outcome.why = wrong;
        }
        if (until == Until::something_is_lost) return outcome;
      }
  }
  return outcome;
}

// --- mutants ------------------------------------------------------------------------------------------------------

std::vector<Call> without_syncs(const std::vector<Call>& calls, bool of_directories) {
  std::set<std::string> directories = {""};
  for (const Call& call : calls) {
    if (call.kind == Kind::make_directory) directories.insert(call.path);
    if (call.kind == Kind::rename || call.kind == Kind::exchange) directories.insert(call.target);
  }
  std::vector<Call> kept;
  for (const Call& call : calls)
    if (call.kind != Kind::sync || (directories.count(call.path) > 0) != of_directories) kept.push_back(call);
  return kept;
}

bool is_checkpoint(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  return name.starts_with("step_") && name.find(".tmp-") == std::string::npos;
}

// A checkpoint that goes gets another name first.
bool is_of_pruning(const Call& call) {
  return call.kind == Kind::remove || (call.kind == Kind::rename && is_checkpoint(call.path));
}

// A checkpoint has its final name as soon as it has a folder.
std::vector<Call> renamed_first(std::vector<Call> calls) {
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const Call moved = calls[i];
    if (moved.kind != Kind::rename || moved.path.find(".tmp-") == std::string::npos || !is_checkpoint(moved.target))
      continue;
    const auto made = std::find_if(calls.begin(), calls.end(), [&](const Call& call) {
      return call.kind == Kind::make_directory && call.path == moved.path;
    });
    calls.erase(calls.begin() + static_cast<std::ptrdiff_t>(i));
    for (auto call = made + 1; call != calls.begin() + static_cast<std::ptrdiff_t>(i); ++call)
      for (std::string* const path : {&call->path, &call->target})
        if (path->starts_with(moved.path)) *path = moved.target + path->substr(moved.path.size());
    calls.insert(made + 1, moved);
  }
  return calls;
}

// Older checkpoints are removed before the new one is written.
std::vector<Call> pruned_first(const std::vector<Call>& calls) {
  std::vector<Call> mutant, save;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    save.push_back(calls[i]);
    if (calls[i].kind != Kind::acknowledge) continue;
    for (; i + 1 < calls.size() && is_of_pruning(calls[i + 1]); ++i) mutant.push_back(calls[i + 1]);
    mutant.insert(mutant.end(), save.begin(), save.end());
    save.clear();
  }
  return mutant;
}

// --- the program --------------------------------------------------------------------------------------------------

bool must_keep(const Recorded& recorded, const std::string& folder, int seeds) {
  const Outcome outcome = cut_the_power(recorded, recorded.calls, folder, seeds, Until::the_end);
  const bool good = outcome.lost == 0 && outcome.boundaries >= 150;
  fmt::print("{}: {} boundaries, {} power cuts, {} lost{}{}\n", good ? "ok" : "FAILED", outcome.boundaries,
             outcome.losses, outcome.lost, outcome.first.empty() ? "" : "; first: " + outcome.first + ": ",
             outcome.why);
  return good;
}

// The library warns of each damaged checkpoint, which is what mutants are made for.
bool must_lose(const char* name, const Recorded& recorded, const std::vector<Call>& calls, const std::string& folder) {
  std::fflush(stderr);
  const int before = ::dup(2), nowhere = ::open("/dev/null", O_WRONLY);
  ::dup2(nowhere, 2);
  const Outcome outcome = cut_the_power(recorded, calls, folder, 1, Until::something_is_lost);
  ::dup2(before, 2);
  ::close(nowhere);
  ::close(before);
  fmt::print("{}: {}: {}\n", outcome.lost > 0 ? "ok" : "FAILED", name,
             outcome.lost > 0 ? "found at " + outcome.first : "nothing is lost, so this test cannot see it");
  return outcome.lost > 0;
}

int run(int seeds) {
  std::string folder = (fs::temp_directory_path() / "weir-power-loss-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no temporary folder");
  fs::create_directory(folder + "/recorded");
  const Recorded recorded = record_run(folder + "/recorded");
  const std::string found = folder + "/found";
  const std::vector<Call>& calls = recorded.calls;
  const bool good = must_keep(recorded, found, seeds) &
                    must_lose("contents not synced", recorded, without_syncs(calls, false), found) &
                    must_lose("names not synced", recorded, without_syncs(calls, true), found) &
                    must_lose("renamed before it is written", recorded, renamed_first(calls), found) &
                    must_lose("older ones removed before it is written", recorded, pruned_first(calls), found);
  fs::remove_all(folder);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) { return weir::run(argc > 1 ? std::atoi(argv[1]) : 2); }
