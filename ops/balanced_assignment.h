#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

struct BalancedAssignment {
  Tensor expert;  // [N] int32
  Tensor price;   // [E] float64
};

// The assignment of tokens to experts with the largest sum of scores [N, E] in which every expert gets N / E tokens,
// rounded up or down where that is no integer. Exact for the scores rounded to 2^-40 of the largest magnitude; NaN
// counts as that much below zero. Not differentiable.
//
// `price` proves it. For any prices p and any balanced assignment, the sum of scores is at most
//   sum over t of max over e of (scores[t, e] - p[e])  +  floor(N / E) sum of p  +  the N mod E largest of p
// and the prices returned reach equality.
BalancedAssignment balanced_assignment(const Tensor& scores);

extern Kernel<void(const Tensor& scores, const Tensor& expert, const Tensor& price)> balanced_assignment_kernel;

}  // namespace weir
