// Sums of gradients, for the engine.
#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// to += from, element by element. Same shape and dtype.
void add_into(const Tensor& from, const Tensor& to);

// to += from; equal shapes and dtypes, any strides.
extern Kernel<void(const Tensor& from, const Tensor& to)> add_into_kernel;

// a + b: into `a` where nobody else can see it and nothing is recorded, else into a fresh (and recorded) tensor.
Tensor accumulate(Tensor a, const Tensor& b);

}  // namespace weir
