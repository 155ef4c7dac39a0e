// Ops that take parameters beside activations: both have one dtype, or the activations are bf16 and the parameters
// float32.
#pragma once

#include "core/tensor.h"

namespace weir {

// Throws ArgumentError unless `parameter` may stand beside activations of that dtype.
void check_parameter(const char* op, const char* argument, const Tensor& parameter, DType activations);

// Calls f(Type<T>{}, Type<P>{}) with T the activations' element type and P the parameters'.
template <class F>
void visit_with_parameters(const char* op, DType activations, DType parameters, F&& f) {
  visit_floating(op, activations, [&]<class T>(Type<T> type) {
    if (parameters == activations) return f(type, type);
    if constexpr (std::is_same_v<T, bf16>) return f(type, Type<float>{});
  });
}

}  // namespace weir
