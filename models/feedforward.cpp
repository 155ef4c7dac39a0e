#include "models/feedforward.h"

#include "core/error.h"
#include "models/dense.h"
#include "models/sigma_moe.h"

namespace weir {

std::unique_ptr<Feedforward> make_feedforward(ParameterSet& parameters, const std::string& name, std::int64_t layer,
                                              const ModelConfig& model, const FeedforwardConfig& config) {
  if (config.kind == "dense") return std::make_unique<DenseFeedforward>(parameters, name, layer, model, config);
  if (config.kind == "sigma-moe") return std::make_unique<SigmaMoe>(parameters, name, layer, model, config);
  throw ArgumentError("feedforward.kind: unknown kind '" + config.kind + "'; choose dense or sigma-moe");
}

}  // namespace weir
