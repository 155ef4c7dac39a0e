#include "models/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>
namespace weir {

std::unique_ptr<Attention> make_attention(ParameterSet& parameters, const std::string& name, std::int64_t layer,
                                          const ModelConfig& model) {
  return registry<AttentionKind>().find(model.attention)(parameters, name, layer, model);
}

Tensor sinusoids(std::int64_t keys, std::int64_t d_model, DType dtype, Device device) {
  if (device.kind == DeviceKind::meta) return Tensor::empty({keys, d_model}, dtype, device);
  const auto columns = static_cast<std::size_t>(d_model);
  std::vector<double> frequency(columns);
  for (std::size_t c = 0; c < columns; ++c)
    frequency[c] = std::pow(10000.0, -static_cast<double>(c / 2 * 2) / static_cast<double>(d_model));
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(keys) * columns);
  for (std::int64_t row = 0; row < keys; ++row)
    for (std::size_t c = 0; c < columns; ++c) {
      const double angle = static_cast<double>(row - (keys - 1)) * frequency[c];
      values.push_back(c % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  return Tensor::from_values({keys, d_model}, values, dtype, device);
}

// The rows of fewer keys are the last ones of more keys. Rows that were handed out stay where they are: what a device
// recorded reads them again. Each time there are at least twice as many, so all together are less than twice the last.
Tensor RelativePositions::operator()(std::int64_t keys, DType dtype, Device device) const {
  std::vector<Tensor>& made = rows_[{dtype, device.kind, device.index}];
  const std::int64_t there = made.empty() ? 0 : made.back().size(0);
  if (there < keys) made.push_back(sinusoids(there == 0 ? keys : std::max(keys, 2 * there), d_model_, dtype, device));
  const Tensor& rows = made.back();
  return slice_view(rows, 0, rows.size(0) - keys, rows.size(0));
}

}  // namespace weir
