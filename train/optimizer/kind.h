// Which optimisers there are, by name; each registers itself at the end of its own file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/registry.h"

namespace weir {

class Optimizer;
class ParameterSet;
struct OptimizerConfig;
struct Parameter;

// A number that is kept from update to update for each element of a parameter.
struct OptimizerStateKind {
  std::string name;          // "m": a checkpoint has it as "m.layer0.attn.w_q"
  double largest_sound = 0;  // L2 norm of all of them together, above which they compute nothing
};

struct OptimizerKind {
  struct Function {
    // The parameters outlive it.
    std::unique_ptr<Optimizer> (*make)(const OptimizerConfig& config, const ParameterSet& parameters);
    // What is kept of a parameter, which need not be allocated.
    std::vector<OptimizerStateKind> (*state_of)(const OptimizerConfig& config, const Parameter& parameter);
    const char* keeps;  // in words, for messages: "AdamW's moments"
  };
  static constexpr const char* setting = "optimizer.kind";
};

}  // namespace weir
