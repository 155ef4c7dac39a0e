// weir train
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/json_writer.h"
#include "core/parallel.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"
#include "tools/weir/signals.h"
#include "train/checkpoint.h"
#include "train/data.h"
#include "train/data_paths.h"
#include "train/new_run_folder.h"
#include "train/run_lookup.h"
#include "train/run_messages.h"
#include "train/run_names.h"
#include "train/run_plan.h"
#include "train/text/text_stream.h"
#include "train/trainer.h"
#include "train/training_setup.h"

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

// What signals tell of the run that goes on; read on the thread that waits for them.
std::atomic<const std::string*> running_folder{nullptr};
std::atomic<bool> is_quiet{true};

std::string newest_saved(const std::string& run) {
  try {
    const std::vector<CheckpointInfo> all = list_checkpoints(run + "/checkpoints");
    return all.empty() ? "" : all.front().path;
  } catch (const Error&) {
    return "";
  }
}

// What the steps since the last save have come to is lost.
std::string lost_text() {
  const std::string* const run = running_folder;
  if (run == nullptr) return "stopped before the run had begun";
  const std::string saved = newest_saved(*run);
  if (saved.empty()) return "stopped at once, before anything was saved: what was trained is lost";
  return fmt::format("stopped at once, without saving: what was trained after {} is lost; continue with: {}", saved,
                     resume_command(*run));
}

// The first signal asks for an orderly stop after the current step; the second ends the process at once, which the
// checkpoints survive. Whoever sends the first from a terminal learns of both.
void on_signal(int signals) {
  if (signals > 1) {
    std::fprintf(stderr, "weir: %s\n", one_line(lost_text()).c_str());
    exit_stopped();
  }
  if (!is_quiet && isatty(STDERR_FILENO) == 1)
    std::fputs("\nweir: saving after this step, then stopping; again to stop at once, without saving\n", stderr);
}

std::string beginning(const Corpus& text) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(std::min<std::int64_t>(text.size(), kHeadBytes)));
  text.read(0, tokens);
  return ByteTokenizer().decode(tokens);
}

// Texts in a form that is seldom meant to be trained on as it is.
void note_odd_text(const DataConfig& data, const Corpora& corpora, Notes& notes) {
  const std::string path = data_path(data, data.train), valid = data_path(data, data.valid);
  const auto is_odd = [&](const Corpus& corpus) {
    return data.encoding == "utf-8" && !corpus.has_splits() && begins_like_json_lines(beginning(corpus));
  };
  if (is_odd(corpora.train)) notes.push_back("data.train: " + json_lines_note(path));
  if (data.valid.empty()) return;
  if (valid != path && is_odd(corpora.valid)) notes.push_back("data.valid: " + json_lines_note(valid));
  if (std::error_code ignored; !corpora.train.has_splits() && std::filesystem::equivalent(path, valid, ignored))
    notes.emplace_back(
        "data.valid is the text of data.train, so validation tells nothing of a text that the model has not seen; "
        "leave it out to hold back the last part of data.train");
}

void run_train(const TrainArguments& arguments) {
  if (arguments.keys) {
    if (!arguments.request.what.empty() || !arguments.request.overrides.empty())
      throw ArgumentError(
          "--keys lists all settings, and takes no configuration and no other setting; leave these out");
    print("{}", help_text());
    return;
  }
  is_quiet = arguments.quiet || arguments.json;
  take_stop_signals(on_signal);
  auto [config, run_path, notes] = plan_run(arguments.request);
  const Device device = device_from_name(arguments.device);
  if (config.train.threads > 0) set_thread_count(static_cast<int>(config.train.threads));
  const bool goes_on = arguments.request.resume && holds_run(run_path);
  TrainingSetup setup(config, device, goes_on ? run_path : "");
  const RunDirectory run(run_path, [&, &folder = run_path, &data = config.data] {
    if (!arguments.request.resume || !holds_run(folder)) check_new_run_folder(folder, data);
  });
  if (!goes_on) note_odd_text(config.data, setup.corpora, notes);
  running_folder = new std::string(run.path());  // which outlives the run, as the thread that reads it does
  const TrainingResult result = train(std::move(setup), run,
                                      {.resume = arguments.request.resume,
                                       .mode = arguments.eager ? StepMode::eager : StepMode::recorded,
                                       .quiet = arguments.quiet || arguments.json,
                                       .notes = notes,
                                       .should_stop = [](std::int64_t) { return stop_signals() > 0; }});
  if (arguments.json) print_json(result, run.path());
  if (result.outcome == Outcome::stopped)
    throw RunError(ExitCode::stopped, fmt::format("stopped after step {}, saved in {}; continue with: {}", result.steps,
                                                  result.checkpoint, resume_command(run.path(), arguments.device)));
  if (arguments.quiet || arguments.json) return;
  print("{}\n", end_text(result, run.path(), arguments.device, arguments.request.overrides));
}

}  // namespace

void add_train_command(CommandLine& line) { line.add<TrainArguments>("train", "train a model", run_train); }

}  // namespace weir
