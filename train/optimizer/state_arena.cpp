#include "train/optimizer/state_arena.h"

#include <algorithm>

#include "core/error.h"

namespace weir {

StateArena::StateArena(OptimizerStateKind kind, const ParameterSet& parameters,
                       const std::function<bool(const Parameter&)>& is_kept)
    : kind_(std::move(kind)) {
  std::int64_t total = 0;
  for (const Parameter& p : parameters.parameters()) {
    if (!is_kept(p)) continue;
    const ParameterSet::Place place = parameters.place_of(p);
    kept_.push_back({&p, place.begin, total});
    total += place.end - place.begin;
  }
  values_ = Tensor::zeros({total}, parameters.values().dtype(), parameters.values().device());
}

Tensor StateArena::of(const ParameterRange& range) const {
  const auto first =
      std::find_if(kept_.begin(), kept_.end(), [&](const Kept& kept) { return kept.place == range.begin; });
  const std::int64_t size = range.end - range.begin;
  if (first == kept_.end() || first->offset + size > values_.numel())
    throw InternalError("the optimiser keeps no '" + kind_.name + "' of these parameters");
  return values_.strided({size}, {1}, first->offset);
}

Tensor StateArena::of(const Parameter& parameter) const {
  for (const Kept& kept : kept_)
    if (kept.parameter == &parameter)
      return values_.strided(parameter.shape, padded_strides(parameter.shape, values_.dtype()), kept.offset);
  return {};
}

}  // namespace weir
