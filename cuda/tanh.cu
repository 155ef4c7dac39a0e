#include "ops/tanh.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool tanh_on_gpu = register_unary<Elementwise, tanh_op, Tanh, TanhBackward>();
}  // namespace weir::cuda
