#include "models/feedforward.h"

#include "core/error.h"

namespace weir {

FeedforwardOutput Feedforward::routed(const Tensor&, const Tensor&, const ForwardContext&) const {
  throw ArgumentError("model.norm = \"peri\": this feedforward selects no experts; choose \"pre\"");
}

Tensor Feedforward::auxiliary_loss(const RegulariserInputs&) const { return {}; }

std::unique_ptr<Feedforward> make_feedforward(ParameterSet& parameters, const std::string& name, std::int64_t layer,
                                              const ModelConfig& model, const FeedforwardConfig& config) {
  FeedforwardConfig checked = config;
  check_values("feedforward", fields_of(checked));
  config.own.check();
  return registry<FeedforwardKind>().find(config.kind)(parameters, name, layer, model, config);
}

std::string feedforward_text(const ModelConfig& model, const FeedforwardConfig& config) {
  ParameterSet declared;
  return make_feedforward(declared, "ff", 0, model, config)->text();
}

}  // namespace weir
