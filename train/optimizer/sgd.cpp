#include "train/optimizer/sgd.h"

#include "train/config.h"

namespace weir {
namespace {

// Nothing without momentum.
std::vector<OptimizerStateKind> sgd_state(double momentum) {
  if (momentum == 0) return {};
  return {{"momentum", kLargestSound}};
}

SgdSettings settings_of(const OptimizerConfig& config) {
  const SgdConfig& own = config.own.get<SgdConfig>();
  return {.momentum = own.momentum,
          .nesterov = own.nesterov,
          .weight_decay = config.weight_decay,
          .decoupled = own.decay == "decoupled"};
}

}  // namespace

void SgdConfig::visit(FieldVisitor& v) {
  v.field("momentum", momentum, {.min = 0, .below = 1},
          "share of the last direction that is added to the gradient; 0: none, and nothing is kept");
  v.field("nesterov", nesterov, "look ahead along the direction (Nesterov's momentum)");
  v.field(
      "decay", decay, {"l2", "decoupled"},
      "optimizer.weight_decay: l2 adds it to the gradient, as torch.optim.SGD; decoupled takes it from the weights, "
      "as AdamW");
}

Sgd::Sgd(const ParameterSet& parameters, const Settings& settings, const ParameterGroups& groups)
    : Optimizer("sgd", parameters, groups, [&](const Parameter&) { return sgd_state(settings.momentum); }),
      settings_(settings) {}

void Sgd::update(const Part& part, const Tensor& factor) {
  Settings settings = settings_;
  if (!part.range.decays) settings.weight_decay = 0;
  const Tensor momentum = settings.momentum == 0 ? Tensor() : state("momentum").of(part.range);
  sgd_update(part.values, part.gradients, {momentum, part.updates, unsound()}, part.learning_rate, factor, settings);
}

namespace {

const bool added = registry<OptimizerKind>().add(
    {"sgd",
     "gradient descent with momentum",
     {.make = [](const OptimizerConfig& config, const ParameterSet& parameters) -> std::unique_ptr<Optimizer> {
        return std::make_unique<Sgd>(parameters, settings_of(config), ParameterGroups(config.no_decay, config.rates));
      },
      .state_of = [](const OptimizerConfig& config,
                     const Parameter&) { return sgd_state(config.own.get<SgdConfig>().momentum); },
      .keeps = "SGD's momentum"},
     OwnSettings::of<SgdConfig>()});

}  // namespace
}  // namespace weir
