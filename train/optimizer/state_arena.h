// What an optimiser keeps for each element of some parameters: one flat tensor, the parameters one behind the other in
// their order, each laid out as in its own arena. Where it keeps something of every parameter the arenas are alike.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "models/parameter.h"
#include "train/optimizer/groups.h"
#include "train/optimizer/kind.h"

namespace weir {

class StateArena {
 public:
  StateArena(OptimizerStateKind kind, const ParameterSet& parameters,
             const std::function<bool(const Parameter&)>& is_kept);

  const std::string& name() const { return kind_.name; }
  double largest_sound() const { return kind_.largest_sound; }
  const Tensor& values() const { return values_; }  // rank 1, padding included (it stays zero)

  // Flat, where something is kept of each parameter in the range.
  Tensor of(const ParameterRange& range) const;
  // Shaped like the parameter; undefined where nothing is kept of it.
  Tensor of(const Parameter& parameter) const;

 private:
  struct Kept {
    const Parameter* parameter;
    std::int64_t place, offset;  // where it begins among the parameters, and here
  };
  OptimizerStateKind kind_;
  std::vector<Kept> kept_;
  Tensor values_;
};

}  // namespace weir
