// Stochastic gradient descent as torch.optim.SGD has it, with momentum as one likes.
#pragma once

#include "core/fields.h"
#include "ops/sgd_update.h"
#include "train/optimizer/optimizer.h"

namespace weir {

// The section [sgd].
struct SgdConfig {
  double momentum = 0.9;
  bool nesterov = false;
  std::string decay = "l2";

  void visit(FieldVisitor& v);
  bool operator==(const SgdConfig&) const = default;
};

class Sgd : public Optimizer {
 public:
  using Settings = SgdSettings;

  Sgd(const ParameterSet& parameters, const Settings& settings, const ParameterGroups& groups = {});

 private:
  void update(const Part& part, const Tensor& factor) override;

  Settings settings_;
};

}  // namespace weir
