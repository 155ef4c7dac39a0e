// weir inspect: what a model is and costs, before anything is trained.
#include <fmt/format.h>

#include <filesystem>

#include "core/json_writer.h"
#include "core/text.h"
#include "models/feedforward_share.h"
#include "models/language_model.h"
#include "tools/weir/commands.h"
#include "tools/weir/print.h"
#include "train/checkpoint.h"
#include "train/config_sources.h"
#include "train/paper_presets.h"
#include "train/progress.h"
#include "train/run_directory.h"
#include "train/run_lookup.h"
#include "train/training_cost.h"

namespace weir {
namespace {

struct InspectArguments {
  std::string what;
  std::vector<std::string> overrides;
  bool json = false;

  void visit(OptionVisitor& v) {
    v.argument("MODEL", what,
               "a preset, a .toml file, a run (its folder, or its name below runs/) or a checkpoint folder");
    v.argument("[SECTION.KEY=VALUE...]", overrides, "settings");
    v.settings(setting_hint);
    v.flag("--json", json, "print one JSON object");
  }
};

// A run or checkpoint, or else a preset or .toml file.
Config load(const InspectArguments& arguments) {
  const std::string& what = arguments.what;
  const bool is_run = !is_preset(what) && !what.ends_with(".toml") && !run_named(what).empty();
  if (!is_run && !std::filesystem::is_directory(what)) return load_config(what, arguments.overrides);
  Config config = checkpoint_config(resolve_checkpoint(arguments.what));
  ConfigSources sources{.base = "the run's configuration", .stored = true};
  FieldList fields = fields_of(config);
  fields.origins = &sources.given;
  for (const std::string& change : arguments.overrides) apply_override(fields, change);
  complete(config, sources, nullptr);
  return config;
}

// The feedforward's arithmetic beside a dense one's: that of the paper's scale where the name is one of its rows, or
// else one with as many parameters.
struct FeedforwardShare {
  std::int64_t dense_d_ff = 0;
  double exact = 0;
  std::optional<double> paper;
};

FeedforwardShare share_of(const Config& config, const PaperPreset* row) {
  const std::int64_t d_ff = row != nullptr ? row->dense_d_ff : matched_d_ff(config.model, config.feedforward);
  return {d_ff, flops_percent(config.model, config.feedforward, d_ff), paper_flops_percent(config.feedforward)};
}

// The authors' model has one more scalar per layer, an attention scale that it never uses.
std::int64_t unused_reference_scalars(const Config& config) { return config.model.layers; }

void print_json(const Config& config, const ModelCost& cost, const LanguageModel& model) {
  JsonList tensors;
  for (const Parameter& p : model.parameters().parameters())
    tensors.push_back(
        JsonObject{{"name", p.name}, {"shape", std::vector<std::int64_t>(p.shape.begin(), p.shape.end())}});
  JsonList buffers;
  for (const Buffer& b : model.parameters().buffers())
    buffers.push_back(
        JsonObject{{"name", b.name}, {"shape", std::vector<std::int64_t>(b.shape.begin(), b.shape.end())}});
  const PaperPreset* const row = find_paper_preset(config.name);
  const FeedforwardShare share = share_of(config, row);
  JsonObject flops = {{"dense_d_ff", share.dense_d_ff}, {"exact", share.exact}};
  if (share.paper) flops["paper"] = *share.paper;
  JsonObject object = {{"name", config.name},
                       {"feedforward", config.feedforward.kind},
                       {"parameters", cost.parameters},
                       {"active_parameters", cost.active_parameters},
                       {"flops_per_token", cost.forward_flops_per_token},
                       {"training_flops_per_token", cost.training_flops_per_token},
                       {"training_bytes", cost.training_bytes},
                       {"feedforward_flops_percent", flops},
                       {"tensors", tensors},
                       {"buffers", buffers}};
  if (row != nullptr) {
    object["reference_parameters"] = cost.parameters + unused_reference_scalars(config);
    object["unused_reference_scalars"] = unused_reference_scalars(config);
  }
  if (const auto published = published_result(config))
    object["published"] =
        JsonObject{{"value", published->value}, {"unit", published->unit}, {"table", published->table}};
  print("{}\n", Json(object).text());
}

void print_model(const Config& config, const LanguageModel& model) {
  const ModelConfig& m = config.model;
  print("{}: {}, {}, d_model {}, {} of {}, {} feedforward\n\n", config.name, m.kind, counted(m.layers, "layer"),
        m.d_model, counted(m.heads, "head"), m.head_size, config.feedforward.kind);
  for (const Parameter& p : model.parameters().parameters())
    if (!p.name.starts_with("layer") || p.name.starts_with("layer0.")) print("  {:<24} {}\n", p.name, p.shape.str());
  for (const Buffer& b : model.parameters().buffers())
    if (!b.name.starts_with("layer") || b.name.starts_with("layer0."))
      print("  {:<24} {}, a buffer: not trained by gradients\n", b.name, b.shape.str());
  const std::int64_t distinct = m.distinct_layers();
  if (distinct > 1) print("  {:<24} like layer0\n", fmt::format("layer1 .. layer{}", distinct - 1));
  if (m.layers > distinct) print("  {:<24} run {}\n", "these layers", counted(m.layers / distinct, "time"));
}

void print_cost(const Config& config, const ModelCost& cost) {
  const PaperPreset* const row = find_paper_preset(config.name);
  print("\nparameters          {:>14}\n", cost.parameters);
  if (row != nullptr)
    print("  of the authors    {:>14}  whose model has one scalar more per layer, never used\n",
          cost.parameters + unused_reference_scalars(config));
  print("active parameters   {:>14}  used by one token; the embedding counts as one row\n", cost.active_parameters);
  print("FLOPs per token     {:>14}  forward, memory of {}; training takes {} times as many\n",
        format_si(cost.forward_flops_per_token), counted(config.model.memory_length(), "token"),
        config.model.checkpoint_activations ? "nearly four" : "three");
  const FeedforwardShare share = share_of(config, row);
  const std::string paper = share.paper ? fmt::format("; {:.1f}% as the paper counts", *share.paper) : "";
  print("  feedforward alone {:>13.2f}%  of a dense one with {}{}\n", share.exact,
        counted(share.dense_d_ff, "hidden unit"), paper);
  print("training memory     {:>14}  estimate: weights, gradients, moments, activations of batch {}\n",
        byte_size(static_cast<std::uint64_t>(cost.training_bytes)), config.train.batch_size / config.train.accumulate);
  if (const auto published = published_result(config))
    print("published result    {:>10.2f} {}  {}\n", published->value, published->unit, published->table);
}

void run_inspect(const InspectArguments& arguments) {
  const Config config = load(arguments);
  const ModelCost cost = training_cost(config);
  const auto model = make_language_model(config.model, config.feedforward);
  if (arguments.json) {
    print_json(config, cost, *model);
    return;
  }
  print_model(config, *model);
  print_cost(config, cost);
}

}  // namespace

void add_inspect_command(CommandLine& line) {
  line.add<InspectArguments>("inspect", "parameters, arithmetic and memory of a model", run_inspect);
}

}  // namespace weir
