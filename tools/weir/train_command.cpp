// weir train
#include <fmt/format.h>

#include "core/error.h"
#include "core/json_writer.h"
#include "core/parallel.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"
#include "tools/weir/signals.h"
#include "train/preconditions.h"
#include "train/run_messages.h"
#include "train/run_names.h"
#include "train/run_plan.h"
#include "train/trainer.h"

namespace weir {
namespace {

struct TrainArguments {
  RunRequest request;
  std::string device = "cpu";
  bool eager = false, json = false, quiet = false, keys = false;

  void visit(OptionVisitor& v) {
    v.argument("[CONFIG]", request.what,
               "a preset (see 'weir presets') or a .toml file; with --resume also a run's folder");
    v.argument("[SECTION.KEY=VALUE...]", request.overrides, "settings; --keys lists them");
    v.settings(setting_hint);
    v.option("--run DIR", request.run, "folder of the run; default runs/NAME");
    device_option(v, device);
    v.flag("--resume", request.resume, "continue a run from its newest checkpoint");
    v.flag("--eager", eager, "on a GPU: launch each kernel by itself instead of replaying the step as one graph");
    v.flag("--json", json, "print one JSON object at the end and nothing else");
    v.flag("--quiet", quiet, "print errors only");
    v.flag("--keys", keys, "list every setting with its type, limits, default and meaning");
    v.footer("Examples:\n  weir train quickstart data.train=book.txt\n  weir train --resume runs/quickstart");
  }
};

void print_json(const TrainingResult& result, const std::string& run) {
  JsonObject object = {{"run", run},
                       {"outcome", result.outcome == Outcome::finished ? "finished" : "stopped"},
                       {"steps", result.steps},
                       {"tokens", result.tokens},
                       {"seconds", result.seconds},
                       {"checkpoint", result.checkpoint}};
  if (result.limit) object["limit"] = result.limit->key;
  if (result.validation.tokens > 0) {
    std::vector<Metric> metrics;
    append_quality(metrics, "valid", result.validation);
    for (const Metric& metric : metrics) object["valid_" + metric.name.substr(6)] = metric.value;
  }
  // Whoever has stopped reading does not change how the run ends.
  standard_output().try_write(Json(object).text() + "\n");
}

void run_train(const TrainArguments& arguments) {
  if (arguments.keys) {
    print("{}", help_text());
    return;
  }
  // The first signal asks for an orderly stop after the current step; the second ends the process at once, which the
  // checkpoints survive.
  take_stop_signals([](int signals) {
    if (signals > 1) exit_stopped();
  });
  const auto& [config, run_path, notes] = plan_run(arguments.request);
  const Device device = device_from_name(arguments.device);
  if (config.train.threads > 0) set_thread_count(static_cast<int>(config.train.threads));
  check_before_training(config, device);
  const RunDirectory run(run_path);
  if (run.has_run() && !arguments.request.resume)
    throw ArgumentError(
        fmt::format("train: {} already holds a run: choose another folder with --run, or continue it with: {}",
                    run.path(), resume_command(run.path(), arguments.device)));
  const TrainingResult result = train(config, run,
                                      {.resume = arguments.request.resume,
                                       .mode = arguments.eager ? StepMode::eager : StepMode::recorded,
                                       .device = device,
                                       .quiet = arguments.quiet || arguments.json,
                                       .notes = notes,
                                       .should_stop = [](std::int64_t) { return stop_signals() > 0; }});
  if (arguments.json) print_json(result, run.path());
  if (result.outcome == Outcome::stopped)
    throw RunError(ExitCode::stopped, fmt::format("stopped after step {}, saved in {}; continue with: {}", result.steps,
                                                  result.checkpoint, resume_command(run.path(), arguments.device)));
  if (arguments.quiet || arguments.json) return;
  print("{}\n", end_text(result, run.path(), arguments.device));
}

}  // namespace

void add_train_command(CommandLine& line) { line.add<TrainArguments>("train", "train a model", run_train); }

}  // namespace weir
