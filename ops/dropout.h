#pragma once

#include "core/kernel.h"
#include "core/philox.h"
#include "core/tensor.h"

namespace weir {

// y[i] = x[i] / (1 - p) where random.uniform(i) >= p, else 0; i counts the elements of x in row-major order, pads left
// out. p: in [0, 1); 0 returns x itself. The mask is a function of the stream and is computed again in backward.
Tensor dropout(const Tensor& x, double p, const RandomStream& random);

// base + dropout(x), with the same mask, in one pass and rounded once. base: of x's shape and dtype.
Tensor add_dropout(const Tensor& base, const Tensor& x, double p, const RandomStream& random);

// 1 where random.uniform(i) >= p, else 0, of any dtype; no gradient.
Tensor keep_mask(const Shape& shape, double p, const RandomStream& random, DType dtype, Device device = {});

// base: undefined for dropout alone.
extern Kernel<void(const Tensor& base, const Tensor& x, double p, const RandomStream& random, const Tensor& y)>
    dropout_kernel;
extern Kernel<void(double p, const RandomStream& random, const Tensor& mask)> keep_mask_kernel;

}  // namespace weir
