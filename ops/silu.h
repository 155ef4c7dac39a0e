#pragma once

#include <cmath>

#include "ops/support/elementwise_op.h"

namespace weir {

// x / (1 + e^-x), element by element: "swish" in some papers.
Tensor silu(const Tensor& x);
extern UnaryOp silu_op;

struct Silu {  // the CPU has its own
  WEIR_HOST_DEVICE auto operator()(auto x) const { return x / (1 + std::exp(-x)); }
};

// s: the sigmoid of x.
struct SiluBackward {
  WEIR_HOST_DEVICE auto operator()(auto x, auto dy) const { return (*this)(x, dy, 1 / (1 + std::exp(-x))); }
  WEIR_HOST_DEVICE auto operator()(auto x, auto dy, auto s) const { return dy * s * (1 + x * (1 - s)); }
};

}  // namespace weir
