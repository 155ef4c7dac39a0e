#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

struct ProductKeys {
  Tensor scores;   // [..., k], descending
  Tensor indices;  // [..., k] int32: i * J + j
};

// The k largest sums a[..., i] + b[..., j] of each row of a [..., I] and b [..., J], found without making all I J of
// them. Of equal sums the one with the lower index comes first, as long as the sums are exact; NaN comes before
// everything else. The gradient of the scores goes to the chosen elements; the choice itself has none. Throws
// ArgumentError unless 1 <= k <= I J.
ProductKeys product_key_search(const Tensor& a, const Tensor& b, std::int64_t k);

extern Kernel<void(const Tensor& a, const Tensor& b, const Tensor& scores, const Tensor& indices)>
    product_key_search_kernel;
// da[..., i] = sum of dscores where i was chosen, db[..., j] likewise.
extern Kernel<void(const Tensor& dscores, const Tensor& indices, const Tensor& da, const Tensor& db)>
    product_key_search_backward_kernel;

}  // namespace weir
