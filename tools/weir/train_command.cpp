// weir train
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/parallel.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/device_option.h"
#include "train/preconditions.h"
#include "train/trainer.h"

namespace weir {
namespace {

struct TrainArguments {
  std::string what;
  std::vector<std::string> overrides;
  std::string run, device = "cpu";
  bool resume = false, eager = false, json = false, quiet = false, keys = false;
};

volatile sig_atomic_t stop_requested = 0;

// The first signal asks for an orderly stop after the current step; the second ends the process at once, which the
// checkpoints survive.
void on_signal(int) {
  if (stop_requested != 0) _exit(static_cast<int>(ExitCode::stopped));
  stop_requested = 1;
}

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
}

// The configuration and the run folder. Without a configuration, --resume takes the one stored in the run folder.
Config load(TrainArguments& arguments) {
  if (arguments.resume && arguments.what.find('=') != std::string::npos) {  // a setting stands where the preset would
    arguments.overrides.insert(arguments.overrides.begin(), arguments.what);
    arguments.what.clear();
  }
  if (!arguments.what.empty()) {
    const Config config = load_config(arguments.what, arguments.overrides);
    if (arguments.run.empty()) arguments.run = "runs/" + config.name;
    return config;
  }
  if (!arguments.resume || arguments.run.empty())
    throw ArgumentError(
        "train: name a preset or a .toml file (see 'weir presets'), or resume with --resume --run FOLDER");
  return load_config(arguments.run + "/config.toml", arguments.overrides);
}

void print_json(const TrainingResult& result, const std::string& run) {
  nlohmann::json object = {{"run", run},
                           {"outcome", result.outcome == Outcome::finished ? "finished" : "stopped"},
                           {"steps", result.steps},
                           {"tokens", result.tokens},
                           {"seconds", result.seconds},
                           {"checkpoint", result.checkpoint}};
  if (result.validation.tokens > 0) {
    std::vector<Metric> metrics;
    append_quality(metrics, "valid", result.validation);
    for (const Metric& metric : metrics) object["valid_" + metric.name.substr(6)] = metric.value;
  }
  fmt::print("{}\n", object.dump());
}

void run_train(TrainArguments arguments) {
  if (arguments.keys) {
    fmt::print("{}", help_text());
    return;
  }
  const Config config = load(arguments);
  const Device device = device_from_name(arguments.device);
  if (config.train.threads > 0) set_thread_count(static_cast<int>(config.train.threads));
  check_before_training(config, device);
  const RunDirectory run(arguments.run);
  if (run.has_run() && !arguments.resume)
    throw ArgumentError(
        fmt::format("train: {} already holds a run: continue it with --resume, or choose another folder "
                    "with --run",
                    run.path()));
  watch_signals();
  const TrainingResult result = train(config, run,
                                      {.resume = arguments.resume,
                                       .mode = arguments.eager ? StepMode::eager : StepMode::recorded,
                                       .device = device,
                                       .quiet = arguments.quiet || arguments.json,
                                       .should_stop = [] { return stop_requested != 0; }});
  if (arguments.json) print_json(result, run.path());
  if (result.outcome == Outcome::stopped)
    throw RunError(ExitCode::stopped, fmt::format("stopped after step {}, saved in {}; continue with 'weir train "
                                                  "--resume --run {}'",
                                                  result.steps, result.checkpoint, run.path()));
  if (arguments.quiet || arguments.json) return;
  const std::string validation = result.validation.tokens > 0 ? ", validation " + describe(result.validation) : "";
  fmt::print("done: {} steps in {:.0f} s{}; the run is in {}\n", result.steps, result.seconds, validation,
             printable(run.path(), 4096));
}

}  // namespace

void add_train_command(CLI::App& app) {
  CLI::App* const command = app.add_subcommand("train", "train a model");
  const auto arguments = std::make_shared<TrainArguments>();
  command->add_option("config", arguments->what, "a preset (see 'weir presets') or a .toml file");
  command->add_option("overrides", arguments->overrides, "settings, as section.key=value; --keys lists them");
  command->add_option("--run", arguments->run, "folder of the run; default runs/NAME");
  add_device_option(*command, arguments->device);
  command->add_flag("--resume", arguments->resume, "continue the run in that folder from its newest checkpoint");
  command->add_flag("--eager", arguments->eager,
                    "on a GPU: launch every kernel of a step by itself, where else the step is replayed as one graph");
  command->add_flag("--json", arguments->json, "print one JSON object at the end and nothing else");
  command->add_flag("--quiet", arguments->quiet, "print errors only");
  command->add_flag("--keys", arguments->keys, "list every setting with its type, limits, default and meaning");
  command->footer(
      "Examples:\n  weir train quickstart data.train=book.txt\n  weir train --resume --run runs/quickstart");
  command->callback([arguments] { run_train(*arguments); });
}

}  // namespace weir
