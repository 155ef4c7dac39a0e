// What a device brings for copying between views of its own memory; users call copy_into and fill of core/tensor.h.
#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// to[i] = from[i] with conversion of dtype; equal shapes, not empty, any strides.
extern Kernel<void(const Tensor& from, const Tensor& to)> copy_kernel;
// t[i] = value; not empty.
extern Kernel<void(const Tensor& t, double value)> fill_kernel;

}  // namespace weir
