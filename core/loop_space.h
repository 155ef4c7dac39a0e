// The loop that an element-wise operation makes over operands of one shape and any strides.
#pragma once

#include <array>

#include "core/shape.h"

namespace weir {

// The loop space of N operands: axes merged wherever every operand lies evenly across them; the last is the inner loop.
template <std::size_t N>
struct LoopSpace {
  Shape shape;
  Strides strides[N];

  LoopSpace(const Shape& full, const std::array<Strides, N>& all) {
    for (int i = 0; i < full.rank(); ++i) {
      if (full[i] == 1) continue;
      const bool merges = shape.rank() > 0 && [&] {
        for (std::size_t k = 0; k < N; ++k)
          if (strides[k][-1] != all[k][i] * full[i]) return false;
        return true;
      }();
      if (merges) {
        shape[-1] *= full[i];
        for (std::size_t k = 0; k < N; ++k) strides[k][-1] = all[k][i];
      } else {
        shape.push_back(full[i]);
        for (std::size_t k = 0; k < N; ++k) strides[k].push_back(all[k][i]);
      }
    }
    if (shape.rank() == 0) {
      shape.push_back(1);
      for (std::size_t k = 0; k < N; ++k) strides[k].push_back(1);
    }
  }

  // Where row `row` of an operand begins; rows are counted in row-major order over the outer axes.
  constexpr std::int64_t offset(std::size_t operand, std::int64_t row) const {
    std::int64_t result = 0;
    for (int i = shape.rank() - 2; i >= 0; --i) {
      result += row % shape[i] * strides[operand][i];
      row /= shape[i];
    }
    return result;
  }
};

}  // namespace weir
