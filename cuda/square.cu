#include "ops/square.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool square_on_gpu = register_unary<Elementwise, square_op, Square, SquareBackward>();
}  // namespace weir::cuda
