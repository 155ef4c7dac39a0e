// weir inspect: what a model is and costs, before anything is trained.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "models/feedforward_share.h"
#include "models/model_cost.h"
#include "models/transformer_xl.h"
#include "tools/weir/commands.h"
#include "train/checkpoint.h"
#include "train/paper_presets.h"
#include "train/progress.h"
#include "train/run_directory.h"

namespace weir {
namespace {

struct InspectArguments {
  std::string what;
  std::vector<std::string> overrides;
  bool json = false;
};

// A preset or .toml file, or else a run or checkpoint folder.
Config load(const InspectArguments& arguments) {
  if (!std::filesystem::is_directory(arguments.what)) return load_config(arguments.what, arguments.overrides);
  Config config = checkpoint_config(resolve_checkpoint(arguments.what));
  const FieldList fields = fields_of(config);
  for (const std::string& change : arguments.overrides) apply_override(fields, change);
  validate(config);
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

void print_json(const Config& config, const ModelCost& cost, const TransformerXl& model) {
  nlohmann::json tensors = nlohmann::json::array();
  for (const Parameter& p : model.parameters().parameters())
    tensors.push_back({{"name", p.name}, {"shape", std::vector<std::int64_t>(p.shape.begin(), p.shape.end())}});
  const PaperPreset* const row = find_paper_preset(config.name);
  const FeedforwardShare share = share_of(config, row);
  nlohmann::json flops = {{"dense_d_ff", share.dense_d_ff}, {"exact", share.exact}};
  if (share.paper) flops["paper"] = *share.paper;
  nlohmann::json object = {{"name", config.name},
                           {"feedforward", config.feedforward.kind},
                           {"parameters", cost.parameters},
                           {"active_parameters", cost.active_parameters},
                           {"flops_per_token", cost.forward_flops_per_token},
                           {"training_flops_per_token", cost.training_flops_per_token},
                           {"training_bytes", cost.training_bytes},
                           {"feedforward_flops_percent", flops},
                           {"tensors", tensors}};
  if (row != nullptr) {
    object["reference_parameters"] = cost.parameters + unused_reference_scalars(config);
    object["unused_reference_scalars"] = unused_reference_scalars(config);
  }
  if (const auto published = published_result(config))
    object["published"] = {{"value", published->value}, {"unit", published->unit}, {"table", published->table}};
  fmt::print("{}\n", object.dump());
}

void print_model(const Config& config, const TransformerXl& model) {
  const ModelConfig& m = config.model;
  fmt::print("{}: Transformer-XL, {} layers, d_model {}, {} heads of {}, {} feedforward\n\n", config.name, m.layers,
             m.d_model, m.heads, m.head_size, config.feedforward.kind);
  for (const Parameter& p : model.parameters().parameters())
    if (!p.name.starts_with("layer") || p.name.starts_with("layer0."))
      fmt::print("  {:<24} {}\n", p.name, p.shape.str());
  const std::int64_t distinct = m.distinct_layers();
  if (distinct > 1) fmt::print("  {:<24} like layer0\n", fmt::format("layer1 .. layer{}", distinct - 1));
  if (m.layers > distinct) fmt::print("  {:<24} run {} times\n", "these layers", m.layers / distinct);
}

void print_cost(const Config& config, const ModelCost& cost) {
  const PaperPreset* const row = find_paper_preset(config.name);
  fmt::print("\nparameters          {:>14}\n", cost.parameters);
  if (row != nullptr)
    fmt::print("  of the authors    {:>14}  whose model has one scalar more per layer, never used\n",
               cost.parameters + unused_reference_scalars(config));
  fmt::print("active parameters   {:>14}  used by one token; the embedding counts as one row\n",
             cost.active_parameters);
  fmt::print("FLOPs per token     {:>14}  forward, memory of {} tokens; training takes three times as many\n",
             format_si(cost.forward_flops_per_token), config.model.memory_length());
  const FeedforwardShare share = share_of(config, row);
  const std::string paper = share.paper ? fmt::format("; {:.1f}% as the paper counts", *share.paper) : "";
  fmt::print("  feedforward alone {:>13.2f}%  of a dense one with {} hidden units{}\n", share.exact, share.dense_d_ff,
             paper);
  fmt::print("training memory     {:>10} MiB  estimate: weights, gradients, moments, activations of batch {}\n",
             cost.training_bytes >> 20, config.train.batch_size / config.train.accumulate);
  if (const auto published = published_result(config))
    fmt::print("published result    {:>10.2f} {}  {}\n", published->value, published->unit, published->table);
}

void run_inspect(const InspectArguments& arguments) {
  const Config config = load(arguments);
  const ModelCost cost =
      model_cost(config.model, config.feedforward, config.train.batch_size / config.train.accumulate);
  const TransformerXl declared(config.model, config.feedforward);
  if (arguments.json) {
    print_json(config, cost, declared);
    return;
  }
  print_model(config, declared);
  print_cost(config, cost);
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  CLI::App* const command = app.add_subcommand("inspect", "parameters, arithmetic and memory of a model");
  const auto arguments = std::make_shared<InspectArguments>();
  command->add_option("what", arguments->what, "a preset, a .toml file, a run folder or a checkpoint folder")
      ->required();
  command->add_option("overrides", arguments->overrides, "settings, as section.key=value");
  command->add_flag("--json", arguments->json, "print one JSON object");
  command->callback([arguments] { run_inspect(*arguments); });
}

}  // namespace weir
