// Relative attention on the CPU, by blocks of queries of one head: no task holds more than [block x keys] scores.
//
// The relative shift costs nothing here. In a block of n queries that sees `keys` keys, query i takes for key j the
// position row n - 1 - i + j, counted from row S - keys of r. With the score of (i, j) at scores[i * stride + j], that
// position therefore lies at (scores - (n - 1))[i * (stride + 1) + c]: another start and a row stride larger by one.
// The products with r write to that matrix, or read from it, and no score is ever moved. For this, n - 1 unused
// elements lie before every row; pairs outside the mask fall there or behind the row's last visible key.
#pragma once

#include <algorithm>
#include <type_traits>

#include "ops/cpu/attention_rows.h"
#include "ops/cpu/gemm.h"
#include "ops/relative_attention.h"

namespace weir::cpu::attention {

template <class T>
struct Problem {
  using Sum = accumulate_t<T>;

  Problem(const RelativeAttentionInputs& in, Float32Products products)
      : batches(in.q.size(0)),
        queries(in.q.size(1)),
        keys(in.kv.size(1)),
        heads(in.q.size(2)),
        width(in.q.size(3)),
        scale(*in.scale.data<Sum>()),
        float32_products(products),
        q_(with_plain_rows(in.q, 1)),
        kv_(with_plain_rows(in.kv, 1)),
        r_(with_plain_rows(in.r, 0)),
        u_(rows_form(in.u)),
        v_(rows_form(in.v)),
        q(head_matrices<T>(q_)),
        k(head_matrices<T>(kv_)),
        value(head_matrices<T>(kv_, kv_.strides()[3])),
        r(head_matrices<T>(r_)),
        u(rows_of<Sum>(u_)),
        v(rows_of<Sum>(v_)) {}

  std::int64_t blocks() const { return (queries + kQueryBlock - 1) / kQueryBlock; }

  std::int64_t batches, queries, keys, heads, width;
  Sum scale;
  Float32Products float32_products;

 private:
  Tensor q_, kv_, r_, u_, v_;  // keep what the pointers below point into

 public:
  HeadMatrices<T> q, k, value, r;
  Rows<Sum> u, v;
};

// Some consecutive queries of one head, and the keys that the last of them sees. Blocks are cut from the last query on,
// so that each starts at a multiple of their size in the rows of r.
struct Block {
  template <class T>
  Block(const Problem<T>& p, std::int64_t batch_index, std::int64_t head_index, std::int64_t index)
      : batch(batch_index),
        head(head_index),
        first_position((p.blocks() - 1 - index) * kQueryBlock),
        first(std::max<std::int64_t>(0, p.queries - first_position - kQueryBlock)),
        rows(p.queries - first_position - first),
        keys(p.keys - first_position) {}

  std::int64_t visible(std::int64_t i) const { return keys - (rows - 1 - i); }  // keys that query i of the block sees

  std::int64_t batch, head, first_position, first, rows, keys;
};

// [rows x keys] elements of a block, seen by key or by position as the head of this file tells.
template <class T>
class PairMatrix {
 public:
  PairMatrix(std::int64_t rows, std::int64_t keys)
      : gap_(rounded_up(rows - 1)), stride_(rounded_up(keys) + gap_ + 16), memory_(gap_ + rows * stride_) {}

  T* row(std::int64_t i) const { return memory_.data() + gap_ + i * stride_; }
  std::int64_t stride() const { return stride_; }
  T* by_position(const Block& block) const { return row(0) - (block.rows - 1); }
  std::int64_t position_stride() const { return stride_ + 1; }
  Matrix<T> matrix(bool transposed = false) const { return {row(0), stride_, transposed}; }
  Matrix<T> matrix_by_position(const Block& block, bool transposed = false) const {
    return {by_position(block), position_stride(), transposed};
  }
  // Clears what row i holds beside its visible keys, up to the beginning of the next row.
  void clear_masked(const Block& block, std::int64_t i) const {
    if (i == 0) std::fill(row(0) - (block.rows - 1), row(0), T(0));
    std::fill(row(i) + block.visible(i), row(i) + stride_, T(0));
  }

 private:
  std::int64_t gap_, stride_;
  Scratch<T> memory_;
};

// What forward and backward have in common: the scores of a block before scaling.
template <class T>
struct Scores {
  using Sum = accumulate_t<T>;

  explicit Scores(const Problem<T>& p)
      : rows(std::min(kQueryBlock, p.queries)),
        q_stride(padded_cols(p.width, dtype_of<T>())),
        q_content(rows * q_stride),
        q_position(rows * q_stride),
        raw(rows, p.keys) {}

  // Both factors [P, S], of the block's head.
  void compute(const Problem<T>& p, const RightFactor<T>& keys, const RightFactor<T>& positions,
               const Block& block) const {
    const Sum *const u = p.u.row(block.head), *const v = p.v.row(block.head);
    for (std::int64_t i = 0; i < block.rows; ++i) {
      const T* const q = p.q.row(block.batch, block.head, block.first + i);
      T *const content = q_content.data() + i * q_stride, *const position = q_position.data() + i * q_stride;
      for (std::int64_t e = 0; e < p.width; ++e) {
        content[e] = T(static_cast<Sum>(q[e]) + u[e]);
        position[e] = T(static_cast<Sum>(q[e]) + v[e]);
      }
    }
    gemm(block.rows, block.keys, p.width, content(), keys.at(0, 0), raw.row(0), raw.stride());
    gemm(block.rows, block.keys, p.width, position(), positions.at(0, block.first_position), raw.by_position(block),
         raw.position_stride(), GemmMode::accumulate);
  }

  Matrix<T> content() const { return {q_content.data(), q_stride}; }
  Matrix<T> position() const { return {q_position.data(), q_stride}; }

  std::int64_t rows, q_stride;
  Scratch<T> q_content, q_position;  // q + u, q + v
  PairMatrix<Sum> raw;
};

}  // namespace weir::cpu::attention
