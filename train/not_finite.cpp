#include "train/not_finite.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/global_norm.h"

namespace weir {
namespace {

std::vector<std::int64_t> place_of(std::int64_t element, const Shape& shape) {
  std::vector<std::int64_t> place(static_cast<std::size_t>(shape.rank()));
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    place[static_cast<std::size_t>(axis)] = element % shape[axis];
    element /= shape[axis];
  }
  return place;
}

// The weights of all experts of a layer are one tensor, [experts, ., .].
bool holds_experts(const std::string& name, const Shape& shape) {
  return shape.rank() == 3 && (name.ends_with(".ff.w1") || name.ends_with(".ff.w2"));
}

}  // namespace

std::optional<std::string> first_not_finite(const std::string& name, const Tensor& tensor) {
  if (!tensor.defined() || !is_floating(tensor.dtype())) return std::nullopt;
  const std::vector<double> values = tensor.values();
  const auto found = std::find_if(values.begin(), values.end(), [](double value) { return !std::isfinite(value); });
  if (found == values.end()) return std::nullopt;
  const std::vector<std::int64_t> place = place_of(found - values.begin(), tensor.shape());
  const char* const value = std::isnan(*found) ? "nan" : *found > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{} is {} at [{}]", name, value, fmt::join(place, ", "));
  if (holds_experts(name, tensor.shape())) text += fmt::format(", in expert {}", place[0]);
  const auto bad = std::count_if(found, values.end(), [](double x) { return !std::isfinite(x); });
  if (bad > 1) text += fmt::format(", and not finite in {} of {} elements", bad, values.size());
  return text;
}

std::optional<std::string> first_not_finite(const Tensor& arena, std::span<const NamedTensor> views) {
  if (arena.numel() == 0 || std::isfinite(global_norm(arena).item())) return std::nullopt;
  for (const NamedTensor& view : views)
    if (auto found = first_not_finite(view.name, view.tensor)) return found;
  return std::nullopt;
}

}  // namespace weir
