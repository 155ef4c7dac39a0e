#include "models/language_model.h"

#include <fmt/format.h>

#include "core/error.h"

namespace weir {

LanguageModel::LanguageModel(const ModelConfig& config) : config_(config) {
  check_values("model", fields_of(config_));
  config_.own.check();
  if (config.vocabulary >= 2) return;
  throw ArgumentError(
      fmt::format("model.vocabulary = {}: a model needs at least 2 different tokens, and 256 for bytes; set it to what "
                  "the data has",
                  config.vocabulary));
}

void LanguageModel::initialise(std::uint64_t seed, DType parameter_dtype, Device device) {
  activation_dtype_ = parameter_dtype == DType::float64 ? DType::float64 : config_.activation_dtype();
  parameters_.allocate(parameter_dtype, seed, device);
}

std::unique_ptr<LanguageModel> make_language_model(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  return registry<ModelKind>().find(model.kind)(model, feedforward);
}

}  // namespace weir
