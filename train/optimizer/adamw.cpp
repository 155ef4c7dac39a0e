#include "train/optimizer/adamw.h"

#include "train/config.h"

namespace weir {

std::vector<OptimizerStateKind> adamw_state() { return {{"m", kLargestSound}, {"v", kLargestSound * kLargestSound}}; }

AdamWSettings adamw_settings(const OptimizerConfig& config) {
  return {.beta1 = config.beta1, .beta2 = config.beta2, .eps = config.eps, .weight_decay = config.weight_decay};
}

AdamW::AdamW(const ParameterSet& parameters, const Settings& settings, const ParameterGroups& groups)
    : Optimizer("adamw", parameters, groups, [](const Parameter&) { return adamw_state(); }), settings_(settings) {}

void AdamW::update(const Part& part, const Tensor& factor) {
  Settings settings = settings_;
  if (!part.range.decays) settings.weight_decay = 0;
  adamw_update(part.values, part.gradients,
               {state("m").of(part.range), state("v").of(part.range), part.updates, unsound()}, part.learning_rate,
               factor, settings);
}

namespace {

const bool added = registry<OptimizerKind>().add(
    {"adamw",
     "means of gradients and of their squares, with decoupled weight decay",
     {.make = [](const OptimizerConfig& config, const ParameterSet& parameters) -> std::unique_ptr<Optimizer> {
        return std::make_unique<AdamW>(parameters, adamw_settings(config),
                                       ParameterGroups(config.no_decay, config.rates));
      },
      .state_of = [](const OptimizerConfig&, const Parameter&) { return adamw_state(); },
      .keeps = "AdamW's moments"}});

}  // namespace
}  // namespace weir
