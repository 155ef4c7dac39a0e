#include "models/attention.h"

#include <cmath>
#include <vector>

#include "core/error.h"
#include "models/relative_attention.h"
#include "models/switch_head.h"

namespace weir {

std::unique_ptr<Attention> make_attention(ParameterSet& parameters, const std::string& name, std::int64_t layer,
                                          const ModelConfig& model) {
  if (model.attention == "relative") return std::make_unique<RelativeAttention>(parameters, name, model);
  if (model.attention == "switch-head") return std::make_unique<SwitchHead>(parameters, name, layer, model);
  throw ArgumentError("model.attention: unknown kind '" + model.attention + "'; choose relative or switch-head");
}

Tensor sinusoids(std::int64_t keys, std::int64_t d_model, DType dtype, Device device) {
  std::vector<double> values(static_cast<std::size_t>(keys * d_model));
  for (std::int64_t row = 0; row < keys; ++row) {
    const auto rho = static_cast<double>(row - (keys - 1));
    for (std::int64_t c = 0; c < d_model; ++c) {
      const double angle = rho * std::pow(10000.0, -static_cast<double>(c / 2 * 2) / static_cast<double>(d_model));
      values[static_cast<std::size_t>(row * d_model + c)] = c % 2 == 0 ? std::sin(angle) : std::cos(angle);
    }
  }
  return Tensor::from_values({keys, d_model}, values, dtype, device);
}

const Tensor& RelativePositions::operator()(std::int64_t keys, DType dtype, Device device) const {
  Tensor& rows = rows_[{keys, dtype, device.kind, device.index}];
  if (!rows.defined()) rows = sinusoids(keys, d_model_, dtype, device);
  return rows;
}

}  // namespace weir
