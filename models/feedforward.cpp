#include "models/feedforward.h"

#include "core/error.h"
#include "models/dense.h"
#include "models/moe.h"
#include "models/product_key_memory.h"

namespace weir {

FeedforwardOutput Feedforward::routed(const Tensor&, const Tensor&, const ForwardContext&) const {
  throw ArgumentError("model.norm = \"peri\": this feedforward selects no experts; choose \"pre\"");
}

Tensor Feedforward::auxiliary_loss(const RegulariserInputs&) const { return {}; }

std::unique_ptr<Feedforward> make_feedforward(ParameterSet& parameters, const std::string& name, std::int64_t layer,
                                              const ModelConfig& model, const FeedforwardConfig& config) {
  if (config.kind == "dense" || config.kind == "top-k")
    return std::make_unique<DenseFeedforward>(parameters, name, layer, model, config);
  if (config.kind == "moe") return std::make_unique<Moe>(parameters, name, layer, model, config);
  if (config.kind == "pkm") return std::make_unique<ProductKeyMemory>(parameters, name, layer, model, config);
  throw ArgumentError("feedforward.kind: unknown kind '" + config.kind + "'; choose dense, top-k, pkm or moe");
}

}  // namespace weir
