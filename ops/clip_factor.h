#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// The factor that brings a gradient of that norm down to `clip`, min(1, clip / (norm + 1e-6)), as
// torch.nn.utils.clip_grad_norm_ computes it; 1 where clip is 0. Not a number where the norm is not finite: no factor
// mends such a gradient. Element by element, any shape; no gradient.
Tensor clip_factor(const Tensor& norm, double clip);

extern Kernel<void(const Tensor& norm, double clip, const Tensor& factor)> clip_factor_kernel;

}  // namespace weir
