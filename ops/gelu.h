#pragma once

#include <cmath>

#include "ops/support/elementwise_op.h"

namespace weir {

// x times the normal distribution function of x, element by element (Hendrycks and Gimpel, 2016); not its
// approximation by tanh.
Tensor gelu(const Tensor& x);
extern UnaryOp gelu_op;

inline constexpr double kHalfRoot = 0.7071067811865475244,
                        kDensityAtZero = 0.3989422804014326779;  // 1/sqrt(2), 1/sqrt(2 pi)

// e: erf(x / sqrt(2)).
struct Gelu {
  WEIR_HOST_DEVICE auto operator()(auto x) const { return (*this)(x, std::erf(x * decltype(x)(kHalfRoot))); }
  WEIR_HOST_DEVICE auto operator()(auto x, auto e) const { return x * (1 + e) / 2; }
};

// bell: e^(-x^2 / 2).
struct GeluBackward {
  WEIR_HOST_DEVICE auto operator()(auto x, auto dy) const {
    return (*this)(x, dy, std::erf(x * decltype(x)(kHalfRoot)), std::exp(-x * x / 2));
  }
  WEIR_HOST_DEVICE auto operator()(auto x, auto dy, auto e, auto bell) const {
    return dy * ((1 + e) / 2 + x * decltype(x)(kDensityAtZero) * bell);
  }
};

}  // namespace weir
