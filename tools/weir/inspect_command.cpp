// weir presets, weir inspect: what a model is and costs, before anything is trained.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "models/model_cost.h"
#include "models/transformer_xl.h"
#include "tools/weir/commands.h"
#include "train/checkpoint.h"
#include "train/presets.h"
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

void print_json(const Config& config, const ModelCost& cost, const TransformerXl& model) {
  nlohmann::json tensors = nlohmann::json::array();
  for (const Parameter& p : model.parameters().parameters())
    tensors.push_back({{"name", p.name}, {"shape", std::vector<std::int64_t>(p.shape.begin(), p.shape.end())}});
  const nlohmann::json object = {{"name", config.name},
                                 {"feedforward", config.feedforward.kind},
                                 {"parameters", cost.parameters},
                                 {"active_parameters", cost.active_parameters},
                                 {"flops_per_token", cost.forward_flops_per_token},
                                 {"training_flops_per_token", cost.training_flops_per_token},
                                 {"training_bytes", cost.training_bytes},
                                 {"tensors", tensors}};
  fmt::print("{}\n", object.dump());
}

void print_table(const Config& config, const ModelCost& cost, const TransformerXl& model) {
  const ModelConfig& m = config.model;
  fmt::print("{}: Transformer-XL, {} layers, d_model {}, {} heads of {}, {} feedforward\n\n", config.name, m.layers,
             m.d_model, m.heads, m.head_size, config.feedforward.kind);
  for (const Parameter& p : model.parameters().parameters())
    if (!p.name.starts_with("layer") || p.name.starts_with("layer0."))
      fmt::print("  {:<24} {}\n", p.name, p.shape.str());
  const std::int64_t distinct = m.distinct_layers();
  if (distinct > 1) fmt::print("  {:<24} like layer0\n", fmt::format("layer1 .. layer{}", distinct - 1));
  if (m.layers > distinct) fmt::print("  {:<24} run {} times\n", "these layers", m.layers / distinct);
  fmt::print("\nparameters          {:>14}\n", cost.parameters);
  fmt::print("active parameters   {:>14}  used by one token; the embedding counts as one row\n",
             cost.active_parameters);
  fmt::print("FLOPs per token     {:>14}  forward, memory of {} tokens; training takes three times as many\n",
             format_si(cost.forward_flops_per_token), m.memory_length());
  fmt::print("training memory     {:>10} MiB  estimate: weights, gradients, moments, activations of batch {}\n",
             cost.training_bytes >> 20, config.train.batch_size / config.train.accumulate);
}

void run_inspect(const InspectArguments& arguments) {
  const Config config = load(arguments);
  const ModelCost cost =
      model_cost(config.model, config.feedforward, config.train.batch_size / config.train.accumulate);
  const TransformerXl declared(config.model, config.feedforward);
  if (arguments.json)
    print_json(config, cost, declared);
  else
    print_table(config, cost, declared);
}

void run_presets(bool as_json) {
  nlohmann::json list = nlohmann::json::array();
  for (const std::string& name : preset_names()) {
    const Config config = load_config(name);
    const ModelCost cost = model_cost(config.model, config.feedforward, config.train.batch_size);
    if (as_json)
      list.push_back({{"name", name},
                      {"help", preset_help(name)},
                      {"parameters", cost.parameters},
                      {"active_parameters", cost.active_parameters}});
    else
      fmt::print("{:<20} {:>6} parameters, {:>6} active  {}\n", name, format_si(static_cast<double>(cost.parameters)),
                 format_si(static_cast<double>(cost.active_parameters)), preset_help(name));
  }
  if (as_json) fmt::print("{}\n", list.dump());
}

}  // namespace

void add_presets_command(CLI::App& app) {
  CLI::App* const command = app.add_subcommand("presets", "list the named configurations");
  const auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "print a JSON array");
  command->callback([as_json] { run_presets(*as_json); });
}

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
