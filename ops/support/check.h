// Argument checks that ops share. Each names the op, what was expected and what came instead.
#pragma once

#include "core/tensor.h"

namespace weir {

void check_same_dtype(const char* op, const Tensor& a, const Tensor& b);
void check_rank(const char* op, const char* argument, const Tensor& t, int rank);
void check_shape(const char* op, const char* argument, const Tensor& t, const Shape& expected);
void check_floating(const char* op, const char* argument, const Tensor& t);
// A probability of dropout: in [0, 1).
void check_probability(const char* op, double p);

}  // namespace weir
