#include "ops/support/transposed.h"

#include "autograd/backward.h"

namespace weir {

Tensor transposed(const Tensor& x) {
  const Tensor y = transpose_view(x, -1, -2);
  Backward back("transposed", {x}, {y});
  back.input(0, [](const Tensor& dy) { return transposed(dy); });
  return y;
}

}  // namespace weir
