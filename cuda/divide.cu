#include "ops/divide.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool divide_on_gpu = register_binary<Elementwise, divide_op, Divide>();
}  // namespace weir::cuda
