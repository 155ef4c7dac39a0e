#include "ops/exp.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool exp_on_gpu = register_unary<Elementwise, exp_op, Exp, ExpBackward>();
}  // namespace weir::cuda
