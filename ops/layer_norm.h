#pragma once

#include "core/kernel.h"
#include "core/tensor.h"
#include "ops/support/row_norm.h"

namespace weir {

// y = (x - mean) / sqrt(variance + eps) * weight + bias, mean and variance (divided by D) of each row. It is precise
// also far from zero and for rows whose squares are out of range; where all of a row is equal, y is the bias.
// x: [..., D], weight and bias: [D]; all of one floating dtype, or x bf16 and the parameters float32.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps = 1e-5);

// What the backward pass needs of each row: its RowNorm, in float64 for float64 and float32 otherwise.
struct RowStatistics {
  Tensor values;  // [rows * 4]

  template <class Value>
  RowNorm<Value>* rows() const {
    return reinterpret_cast<RowNorm<Value>*>(values.data<Value>());
  }

  void for_each_tensor(auto&& f) const { f(values); }
};
// For the rows of x, not filled in.
RowStatistics empty_row_statistics(const Tensor& x);

// Throws ArgumentError, with the op's name, where a norm along rows, or a layer norm, cannot have these arguments.
void check_row_norm(const char* op, const Tensor& x, const Tensor& weight, double eps);
void check_layer_norm(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

extern Kernel<void(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, const Tensor& y,
                   const RowStatistics& statistics)>
    layer_norm_kernel;
// dx: undefined where it is not wanted; dweight and dbias: always computed.
extern Kernel<void(const Tensor& x, const Tensor& weight, const RowStatistics& statistics, const Tensor& dy,
                   const Tensor& dx, const Tensor& dweight, const Tensor& dbias)>
    layer_norm_backward_kernel;

}  // namespace weir
