// Gradients against finite differences, in float64.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/op_info.h"

namespace weir {

struct GradCheckOptions {
  double step = 1e-6;                     // of the central difference, relative to an input of size one
  double tolerance = 1e-6;                // of |analytic - numeric| / (1 + |numeric|)
  std::int64_t full_jacobian_below = 24;  // inputs x outputs up to this many elements are checked entry by entry
  std::uint64_t seed = 1;                 // of the random directions
  bool second_order = false;              // check the gradient's own gradient as well
};

// Checks `f` at `inputs` (floating ones must be float64; integer ones are passed through). Every floating output is
// weighted with a random tensor; each floating input is moved along a random direction: two evaluations per input, and
// additionally the whole Jacobian where it is tiny. Returns an empty string, or what disagrees.
std::string grad_check(const TensorFunction& f, std::span<const Tensor> inputs, const GradCheckOptions& options = {});

}  // namespace weir
