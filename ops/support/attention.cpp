#include "ops/support/attention.h"

#include <limits>

namespace weir {

Tensor empty_with_merged_row(const Shape& shape, int first, const Tensor& like) {
  Shape merged;
  std::int64_t row = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (i < first)
      merged.push_back(shape[i]);
    else
      row *= shape[i];
  }
  merged.push_back(row);
  const Tensor storage = Tensor::empty(merged, like.dtype(), like.device());
  Strides strides = packed_strides(shape);
  for (int i = 0; i < first; ++i) strides[i] = storage.strides()[i];
  return storage.strided(shape, strides);
}

Tensor causal_mask(std::int64_t queries, std::int64_t keys, const Tensor& like) {
  const Tensor mask = Tensor::zeros({queries, keys}, like.dtype(), like.device());
  for (std::int64_t i = 0; i + 1 < queries; ++i)
    fill(slice_view(slice_view(mask, 0, i, i + 1), 1, i + keys - queries + 1, keys),
         -std::numeric_limits<double>::infinity());
  return mask;
}

}  // namespace weir
