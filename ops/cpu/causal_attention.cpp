// Causal attention on the CPU, by blocks of queries of one head: no task holds more than [block x keys] scores. Forward
// is one task for some blocks of a batch and head, backward one for all of them, which makes the scores again.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/parallel.h"
#include "ops/causal_attention.h"
#include "ops/cpu/attention_rows.h"
#include "ops/cpu/math.h"

namespace weir {
namespace {

using namespace cpu::attention;
using cpu::gemm;
using cpu::GemmMode;
using cpu::Matrix;
using cpu::RightFactor;

template <class T>
struct Problem {
  Problem(const CausalAttentionInputs& in, Float32Products products)
      : batches(in.q.size(0)),
        queries(in.q.size(1)),
        keys(in.k.size(1)),
        heads(in.q.size(2)),
        width(in.q.size(3)),
        scale(static_cast<accumulate_t<T>>(in.scale)),
        float32_products(products),
        q_(with_plain_rows(in.q, 1)),
        k_(with_plain_rows(in.k, 1)),
        v_(with_plain_rows(in.v, 1)),
        q(head_matrices<T>(q_)),
        k(head_matrices<T>(k_)),
        v(head_matrices<T>(v_)) {}

  std::int64_t blocks() const { return (queries + kQueryBlock - 1) / kQueryBlock; }
  std::int64_t block_rows() const { return std::min(kQueryBlock, queries); }

  std::int64_t batches, queries, keys, heads, width;
  accumulate_t<T> scale;
  Float32Products float32_products;

 private:
  Tensor q_, k_, v_;  // keep what the pointers below point into

 public:
  HeadMatrices<T> q, k, v;
};

// Some consecutive queries of one head, and the keys that the last of them sees.
struct Block {
  template <class T>
  Block(const Problem<T>& p, std::int64_t batch_index, std::int64_t head_index, std::int64_t index)
      : batch(batch_index),
        head(head_index),
        first(index * kQueryBlock),
        rows(std::min(kQueryBlock, p.queries - first)),
        keys(p.keys - p.queries + first + rows) {}

  std::int64_t visible(std::int64_t i) const { return keys - (rows - 1 - i); }  // keys that query i of the block sees

  std::int64_t batch, head, first, rows, keys;
};

// [rows x keys] numbers of a block. Rows are whole vectors, and a vector more, so that those of 512 keys, say, do not
// share their place in the cache.
template <class Sum>
class PairMatrix {
 public:
  PairMatrix(std::int64_t rows, std::int64_t keys) : stride_(rounded_up(keys) + 16), memory_(rows * stride_) {}

  Sum* row(std::int64_t i) const { return memory_.data() + i * stride_; }
  std::int64_t stride() const { return stride_; }
  Matrix<Sum> matrix(bool transposed = false) const { return {row(0), stride_, transposed}; }
  // Clears what the queries of the block do not see.
  void clear_masked(const Block& block) const {
    for (std::int64_t i = 0; i < block.rows; ++i) std::fill(row(i) + block.visible(i), row(i) + block.keys, Sum(0));
  }

 private:
  std::int64_t stride_;
  Scratch<Sum> memory_;
};

// Blocks of one batch and head, forward.
template <class T>
class HeadTask {
  using Sum = accumulate_t<T>;

 public:
  HeadTask(const Problem<T>& problem, std::int64_t batch, std::int64_t head)
      : p(problem),
        keys_across_(p.width, p.keys, p.k.matrix(batch, head, 0, true), p.float32_products),
        values_(p.keys, p.width, p.v.matrix(batch, head, 0), p.float32_products),
        weights_(p.block_rows(), p.keys),
        products_(p.block_rows() * p.width),
        factors_(p.block_rows()) {}

  // The output rows and their logsumexp. The weights meet the values before they are divided by their sum, which is
  // less work.
  void run(const Block& block, const HeadMatrices<T>& out, Sum* logsumexp) const {
    Sum *const products = products_.data(), *const factors = factors_.data();
    gemm(block.rows, block.keys, p.width, p.q.matrix(block.batch, block.head, block.first), keys_across_.at(0, 0),
         weights_.row(0), weights_.stride());
    for (std::int64_t i = 0; i < block.rows; ++i) {
      const auto [largest, total] = exp_row(weights_.row(i), block.visible(i), p.scale);
      logsumexp[i] = largest + std::log(total);
      factors[i] = 1 / total;
    }
    weights_.clear_masked(block);
    gemm(block.rows, p.width, block.keys, weights_.matrix(), values_.at(0, 0), products, p.width);
    write_rows(out, block, products, factors, p.width);
  }

 private:
  const Problem<T>& p;
  RightFactor<T> keys_across_, values_;  // [P, S], [S, P]
  PairMatrix<Sum> weights_;
  Scratch<Sum> products_, factors_;  // [rows, P], [rows]
};

template <class T>
void forward(const CausalAttentionInputs& in, Float32Products products, const Tensor& out, const Tensor& logsumexp) {
  const Problem<T> p(in, products);
  const HeadMatrices<T> result = head_matrices<T>(out);
  const auto logs = rows_of<accumulate_t<T>>(logsumexp);
  const std::int64_t heads = p.batches * p.heads, parts = parts_per_head(heads, p.blocks());
  parallel_for(heads * parts, 1, [&](std::int64_t item, std::int64_t) {
    const std::int64_t index = item / parts, part = item % parts, batch = index / p.heads, head = index % p.heads;
    const HeadTask<T> task(p, batch, head);
    for (std::int64_t i = p.blocks() * part / parts; i < p.blocks() * (part + 1) / parts; ++i) {
      const Block block(p, batch, head, i);
      task.run(block, result, logs.row(index) + block.first);
    }
  });
}

// A gradient [rows, P] of one head while it is added up: in place where it has the type of the sums, else beside it.
template <class T>
class GradientSum {
  using Sum = accumulate_t<T>;
  static constexpr bool kInPlace = std::is_same_v<T, Sum>;

 public:
  GradientSum(T* result, std::int64_t stride, std::int64_t rows, std::int64_t width)
      : result_(result), stride_(stride), rows_(rows), width_(width), memory_(kInPlace ? 0 : rows * width) {}

  Sum* data() const {
    if constexpr (kInPlace)
      return result_;
    else
      return memory_.data();
  }
  std::int64_t stride() const { return kInPlace ? stride_ : width_; }

  // To be called when the sum is complete.
  void store() const {
    if constexpr (!kInPlace) {
      const Sum* const sums = memory_.data();
      for (std::int64_t i = 0; i < rows_; ++i)
        for (std::int64_t e = 0; e < width_; ++e) result_[i * stride_ + e] = T(sums[i * width_ + e]);
    }
  }

 private:
  T* result_;
  std::int64_t stride_, rows_, width_;
  Scratch<Sum> memory_;
};

// In place: the scores of a query become their gradient, the gradient of its softmax becomes the softmax. n visible
// keys; `mean` is the sum of weight * dweight. The loop runs over whole vectors.
template <class Sum>
void backward_row(Sum* scores, Sum* weights, std::int64_t n, Sum scale, Sum log_sum, Sum mean) {
  const std::int64_t whole = rounded_up(n);
  std::fill(scores + n, scores + whole, scores[0]);
  std::fill(weights + n, weights + whole, mean);
#pragma omp simd
  for (std::int64_t j = 0; j < whole; ++j) {
    const Sum weight = cpu::exp(scores[j] * scale - log_sum);
    scores[j] = weight * (weights[j] - mean) * scale;
    weights[j] = weight;
  }
}

template <class T>
struct BackwardTensors {
  HeadMatrices<T> out, dout, dq, dk, dv;
  Rows<accumulate_t<T>> logsumexp;
};

// All of one batch and head, backward. It walks over the blocks of queries from the last to the first: the last one
// sees every key and so initialises what the others add to.
template <class T>
class BackwardTask {
  using Sum = accumulate_t<T>;

 public:
  BackwardTask(const Problem<T>& problem, const BackwardTensors<T>& tensors, std::int64_t batch, std::int64_t head)
      : p(problem),
        t(tensors),
        batch_(batch),
        head_(head),
        keys_across_(p.width, p.keys, p.k.matrix(batch, head, 0, true), p.float32_products),
        values_across_(p.width, p.keys, p.v.matrix(batch, head, 0, true), p.float32_products),
        keys_(p.keys, p.width, p.k.matrix(batch, head, 0), p.float32_products),
        scores_(p.block_rows(), p.keys),
        weights_(p.block_rows(), p.keys),
        dk_(t.dk.row(batch, head, 0), t.dk.stride, p.keys, p.width),
        dv_(t.dv.row(batch, head, 0), t.dv.stride, p.keys, p.width) {}

  void run() const {
    for (std::int64_t index = p.blocks() - 1; index >= 0; --index) {
      const Block block(p, batch_, head_, index);
      make_pairs(block);
      add_key_gradients(block, index == p.blocks() - 1 ? GemmMode::overwrite : GemmMode::accumulate);
      const GradientSum<T> dq(t.dq.row(batch_, head_, block.first), t.dq.stride, block.rows, p.width);
      gemm(block.rows, p.width, block.keys, scores_.matrix(), keys_.at(0, 0), dq.data(), dq.stride());
      dq.store();
    }
    dk_.store();
    dv_.store();
  }

 private:
  // scores_ holds the gradients of the scores then, weights_ the softmax.
  void make_pairs(const Block& block) const {
    const Matrix<T> q = p.q.matrix(batch_, head_, block.first), dout = t.dout.matrix(batch_, head_, block.first);
    gemm(block.rows, block.keys, p.width, q, keys_across_.at(0, 0), scores_.row(0), scores_.stride());
    gemm(block.rows, block.keys, p.width, dout, values_across_.at(0, 0), weights_.row(0), weights_.stride());
    const Sum* const log_sums = t.logsumexp.row(batch_ * p.heads + head_) + block.first;
    for (std::int64_t i = 0; i < block.rows; ++i) {
      const Sum mean = dot(t.out.row(batch_, head_, block.first + i), dout.data + i * dout.stride);
      backward_row(scores_.row(i), weights_.row(i), block.visible(i), p.scale, log_sums[i], mean);
    }
    scores_.clear_masked(block);
    weights_.clear_masked(block);
  }

  Sum dot(const T* a, const T* b) const {
    Sum sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t e = 0; e < p.width; ++e) sum += static_cast<Sum>(a[e]) * static_cast<Sum>(b[e]);
    return sum;
  }

  void add_key_gradients(const Block& block, GemmMode mode) const {
    gemm(block.keys, p.width, block.rows, scores_.matrix(true), p.q.matrix(batch_, head_, block.first), dk_.data(),
         dk_.stride(), p.float32_products, mode);
    gemm(block.keys, p.width, block.rows, weights_.matrix(true), t.dout.matrix(batch_, head_, block.first), dv_.data(),
         dv_.stride(), p.float32_products, mode);
  }

  const Problem<T>& p;
  const BackwardTensors<T>& t;
  std::int64_t batch_, head_;
  RightFactor<T> keys_across_, values_across_, keys_;  // [P, S], [P, S], [S, P]
  PairMatrix<Sum> scores_, weights_;
  GradientSum<T> dk_, dv_;
};

template <class T>
void backward(const CausalAttentionInputs& in, const Tensor& out, const Tensor& logsumexp, const Tensor& dout,
              Float32Products products, const CausalAttentionGradients& d) {
  const Problem<T> p(in, products);
  const Tensor plain_dout = with_plain_rows(dout, 1);
  const BackwardTensors<T> tensors{head_matrices<T>(out),  head_matrices<T>(plain_dout),
                                   head_matrices<T>(d.dq), head_matrices<T>(d.dk),
                                   head_matrices<T>(d.dv), rows_of<accumulate_t<T>>(logsumexp)};
  parallel_for(p.batches * p.heads, 1, [&](std::int64_t item, std::int64_t) {
    BackwardTask<T>(p, tensors, item / p.heads, item % p.heads).run();
  });
}

void causal_attention_cpu(const CausalAttentionInputs& in, Float32Products products, const Tensor& out,
                          const Tensor& logsumexp) {
  if (out.numel() == 0) return;
  visit_floating("causal_attention", in.q.dtype(), [&]<class T>(Type<T>) { forward<T>(in, products, out, logsumexp); });
}

void causal_attention_backward_cpu(const CausalAttentionInputs& in, const Tensor& out, const Tensor& logsumexp,
                                   const Tensor& dout, Float32Products products, const CausalAttentionGradients& d) {
  if (out.numel() == 0) {
    d.for_each_tensor([](const Tensor& gradient) { fill(gradient, 0); });
    return;
  }
  visit_floating("causal_attention", in.q.dtype(),
                 [&]<class T>(Type<T>) { backward<T>(in, out, logsumexp, dout, products, d); });
}

const bool on_cpu = causal_attention_kernel.add(DeviceKind::cpu, causal_attention_cpu) &&
                    causal_attention_backward_kernel.add(DeviceKind::cpu, causal_attention_backward_cpu);

}  // namespace
}  // namespace weir
