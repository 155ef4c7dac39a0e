// AdamW (Loshchilov & Hutter 2019), in one pass over the arenas where there are no groups.
#pragma once

#include "ops/adamw_update.h"
#include "train/optimizer/optimizer.h"

namespace weir {

// The moments.
std::vector<OptimizerStateKind> adamw_state();
AdamWSettings adamw_settings(const OptimizerConfig& config);

class AdamW : public Optimizer {
 public:
  using Settings = AdamWSettings;

  AdamW(const ParameterSet& parameters, const Settings& settings, const ParameterGroups& groups = {});

 private:
  void update(const Part& part, const Tensor& factor) override;

  Settings settings_;
};

}  // namespace weir
