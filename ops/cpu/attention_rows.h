// What attentions on the CPU share: where their heads lie, memory for a task, the softmax of a row of scores.
#pragma once

#include <algorithm>

#include "core/parallel.h"
#include "ops/cpu/gemm.h"

namespace weir::cpu::attention {

inline constexpr std::int64_t kQueryBlock = 64;

// One matrix [rows x P] per batch and head inside a tensor, its rows unit-stride.
template <class T>
struct HeadMatrices {
  T* data;
  std::int64_t batch_step, head_step, stride;

  T* row(std::int64_t batch, std::int64_t head, std::int64_t i) const {
    return data + batch * batch_step + head * head_step + i * stride;
  }
  Matrix<T> matrix(std::int64_t batch, std::int64_t head, std::int64_t first_row, bool transposed = false) const {
    return {row(batch, head, first_row), stride, transposed};
  }
};

// `t` where its rows have unit stride and do not overlap, else a copy. Axis `row` walks over the rows.
inline Tensor with_plain_rows(const Tensor& t, int row) {
  const bool unit = t.size(-1) <= 1 || t.strides()[-1] == 1;
  const bool apart = t.size(row) <= 1 || t.strides()[row] >= t.size(-1);
  return unit && apart ? t : clone(t);
}

// Axes (batch, row, head, ..., element), or (row, head, element) where every batch has the same matrix.
template <class T>
HeadMatrices<T> head_matrices(const Tensor& t, std::int64_t offset = 0) {
  const int row = t.rank() == 3 ? 0 : 1;
  const Strides& strides = t.strides();
  return {t.numel() == 0 ? nullptr : t.data<T>() + offset, row == 0 ? 0 : strides[0], strides[row + 1],
          std::max(strides[row], t.size(-1))};
}

// Uninitialised memory for one task.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t elements) : memory_(Tensor::empty({elements}, dtype_of<T>())) {}
  T* data() const { return memory_.data<T>(); }

 private:
  Tensor memory_;
};

// Parts into which the blocks of each head are cut, so that every thread has some tasks. Those of a part share what is
// laid out for them.
inline std::int64_t parts_per_head(std::int64_t heads, std::int64_t blocks) {
  const std::int64_t wanted = 16 * thread_count();
  return std::clamp<std::int64_t>((wanted + heads - 1) / heads, 1, blocks);
}

// The rows of a block of queries, each times its factor: products [rows, width], factors [rows].
template <class T, class Block>
void write_rows(const HeadMatrices<T>& out, const Block& block, const accumulate_t<T>* products,
                const accumulate_t<T>* factors, std::int64_t width) {
  for (std::int64_t i = 0; i < block.rows; ++i) {
    const accumulate_t<T>* const product = products + i * width;
    T* const row = out.row(block.batch, block.head, block.first + i);
    for (std::int64_t e = 0; e < width; ++e) row[e] = T(product[e] * factors[i]);
  }
}

inline std::int64_t rounded_up(std::int64_t n) { return (n + 15) / 16 * 16; }

template <class Sum>
struct ExpSum {
  Sum largest, total;  // of the scaled scores, of the exponentials
};

// scores[0..n) become exp(scale * score - largest). The loops run over whole vectors, since what is left over would
// take as long as many vectors; the elements behind the n-th become 0.
template <class Sum>
ExpSum<Sum> exp_row(Sum* scores, std::int64_t n, Sum scale);

}  // namespace weir::cpu::attention
