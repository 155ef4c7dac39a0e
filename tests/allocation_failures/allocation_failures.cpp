// Memory refused at each request in turn, while a model takes a step, is evaluated, writes a text, is saved and loaded,
// and while files are read. Each time there must be an error that a user can read (RunError(out_of_memory) or
// std::bad_alloc, which the command reports as that) or the same result as ever; no crash, no leak, and no checkpoint
// in part.
//
//   allocation_failures [REQUESTS]   each of the first REQUESTS of a step (1000), and fewer of what is slower or
//   repeats
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <optional>

#include "core/caching_allocator.h"
#include "core/error.h"
#include "core/parallel.h"
#include "models/transformer_xl.h"
#include "reading.h"
#include "refused_memory.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/generate.h"
#include "train/training_step.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

Config small_config(const FeedforwardConfig& feedforward) {
  Config config;
  config.name = "allocation-failures";
  config.model = {.vocabulary = 256, .d_model = 16, .layers = 2, .heads = 2, .head_size = 8, .segment = 8};
  config.feedforward = feedforward;
  config.train.batch_size = 2;
  config.train.steps = 100;
  resolve(config);
  return config;
}

// A model after two steps, when all that is made at first use is there.
class Training {
 public:
  Training(const Config& config, const Corpus& corpus, Device device)
      : config_(config), corpus_(corpus), model_(config.model, config.feedforward) {
    model_.initialise(1, DType::float32, device);
    update_.emplace(config_, model_);
    step();
    step();
  }
  double step() {
    const StreamReader reader(corpus_, {config_.train.batch_size, config_.model.segment});
    const auto read = [&](std::int64_t group) {
      return reader.read({0, state_.step}, group, config_.train.batch_size);
    };
    const auto result = (*update_)(read, state_.memories, state_.step, 1e-3, false);
    ++state_.step;
    return result.loss;
  }
  double evaluate() { return weir::evaluate(model_, corpus_, config_.eval).nats_per_token; }
  double generate() {
    const std::string text = weir::generate(model_, ByteTokenizer(), "The ", {.tokens = 5, .temperature = 0});
    return static_cast<double>(std::hash<std::string>()(text));
  }
  double save(const std::string& folder) {
    save_checkpoint(folder, config_, model_.parameters(), update_->optimizer(), state_);
    return static_cast<double>(state_.step);
  }
  double load(const std::string& checkpoint) {
    TrainingState state;
    load_checkpoint(checkpoint, model_.parameters(), update_->optimizer(), state);
    return static_cast<double>(state.tokens);
  }

 private:
  const Config& config_;
  const Corpus& corpus_;
  TransformerXl model_;
  std::optional<TrainingStep> update_;
  TrainingState state_;
};

struct Count {
  std::int64_t requests = 0, errors = 0, survived = 0;
};

using Work = std::function<double()>;

struct Action {
  std::string name;
  std::function<Work()> prepare;  // what is tried; memory is refused only in the call of what this returns
};

class Trial {
 public:
  Trial(const Action& action, MemoryKind memory, Refusal refusal)
      : action_(action), memory_(memory), refusal_(refusal) {}

  // Tries it with each request refused, until it makes no more of them. `check` is called after each.
  Count run(std::int64_t requests, const std::function<void()>& check) {
    Count count;
    const double expected = attempt(0).value();
    for (std::int64_t request = 1; request <= requests; ++request) {
      const std::optional<double> result = attempt(request);
      check();
      if (!refused_) break;
      ++count.requests;
      ++(result ? count.survived : count.errors);
      if (result && *result != expected) throw std::runtime_error(fmt::format("request {}: another result", request));
    }
    return count;
  }

 private:
  // Nothing where memory was refused; the result where that did no harm.
  std::optional<double> attempt(std::int64_t request) {
    const Work work = action_.prepare();
    std::optional<double> result;
    if (request > 0) refuse_memory(memory_, request, refusal_);
    try {
      result = work();
    } catch (const RunError& error) {
      stop(error.code() == ExitCode::out_of_memory, error.what());
    } catch (const std::bad_alloc&) {
    }
    refused_ = stop_refusing();
    return result;
  }

  static void stop(bool right, const char* what) {
    stop_refusing();
    if (!right) throw std::runtime_error(fmt::format("another error: {}", what));
  }

  const Action& action_;
  const MemoryKind memory_;
  const Refusal refusal_;
  bool refused_ = false;
};

// The checkpoint that was there is whole, and nothing lies beside it but a whole one. Where there was no memory to tidy
// up either, whoever trains there next does it.
void check_saved(const std::string& folder) {
  remove_unfinished_checkpoints(folder);
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().find(".tmp-") != std::string::npos)
      throw std::runtime_error(entry.path().string() + " was left");
    verify_checkpoint(entry.path().string());
  }
}

bool try_action(const Action& action, MemoryKind memory, Refusal refusal, const std::string& folder,
                std::int64_t requests) {
  Trial trial(action, memory, refusal);
  trial.run(3, [] {});  // what is made at a first failure is there
  const std::int64_t before = live_blocks();
  const Count count = trial.run(requests, [&] { check_saved(folder); });
  const std::int64_t leaked = live_blocks() - before;
  // Containers that are kept grow a little.
  const bool right = count.errors > 0 && leaked < 20 + count.requests / 20;
  fmt::print("{}: {}, {} memory refused {}: {} requests, {} errors, {} survived, {} blocks more\n",
             right ? "ok" : "FAILED", action.name, memory == MemoryKind::host ? "host" : "device",
             refusal == Refusal::once ? "once" : "from then on", count.requests, count.errors, count.survived, leaked);
  return right;
}

bool try_on_host(const Action& action, const std::string& folder, std::int64_t requests) {
  bool good = true;
  for (const Refusal refusal : {Refusal::once, Refusal::from_then_on})
    good = try_action(action, MemoryKind::host, refusal, folder, requests) && good;
  return good;
}

bool try_model(const Config& config, const Corpus& corpus, const std::string& folder, std::int64_t requests) {
  const auto action = [&](const char* name, const std::function<double(Training&)>& run, DeviceKind device) -> Action {
    return {fmt::format("{}, {}", config.feedforward.kind, name), [&config, &corpus, run, device] {
              const auto training = std::make_shared<Training>(config, corpus, Device{device});
              return [training, run] { return run(*training); };
            }};
  };
  bool good = true;
  const auto attempt = [&](const char* name, const std::function<double(Training&)>& run, std::int64_t on_host,
                           std::int64_t on_device) {
    good = try_on_host(action(name, run, DeviceKind::cpu), folder, on_host) && good;
    // Of a device, a block that is refused once is granted when others have been given back. The emulated one is slow.
    const Action on_gpu = action(name, run, DeviceKind::cuda);
    good = try_action(on_gpu, MemoryKind::device, Refusal::from_then_on, folder, on_device) && good;
  };
  const std::string checkpoint = list_checkpoints(folder).at(0).path;
  attempt(
      "step", [](Training& t) { return t.step(); }, requests, requests);
  attempt(
      "evaluation", [](Training& t) { return t.evaluate(); }, requests / 5, requests / 25);
  attempt(
      "text", [](Training& t) { return t.generate(); }, requests / 5, requests / 25);
  attempt(
      "save", [&](Training& t) { return t.save(folder); }, requests / 5, requests / 25);
  attempt(
      "load", [&](Training& t) { return t.load(checkpoint); }, requests, requests / 25);
  return good;
}

int run(std::int64_t requests) {
  std::string folder = (fs::temp_directory_path() / "weir-allocation-failures-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no temporary folder");
  {
    std::ofstream text(folder + "/text");
    for (int i = 0; i < 40; ++i) text << "the weir\n";
  }
  set_thread_count(2);
  const Corpus corpus = Corpus::text(folder + "/text");
  const Config config = small_config({.kind = "moe", .experts = 4, .expert_size = 8, .k = 2});
  const std::string checkpoints = folder + "/checkpoints";
  Training(config, corpus, {}).save(checkpoints);
  bool good = try_model(config, corpus, checkpoints, requests);
  for (const Reading& reading : readings(folder))
    good = try_on_host({reading.name, [&] { return reading.run; }}, checkpoints, requests) && good;
  fs::remove_all(folder);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  // So that no tensor is made of kept memory. Allocators read it before main.
  if (!weir::exact_memory_wanted()) {
    ::setenv("WEIR_EXACT_MEMORY", "1", 1);
    ::execv("/proc/self/exe", argv);
  }
  setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  return weir::run(argc > 1 ? std::atoll(argv[1]) : 1000);
}
