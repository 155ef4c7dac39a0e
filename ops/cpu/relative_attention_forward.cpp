// Relative attention on the CPU, forward: one task per batch, head and block of queries.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "ops/cpu/math.h"
#include "ops/cpu/relative_attention.h"

namespace weir {
namespace {

using namespace cpu::attention;
using cpu::Matrix;

template <class Sum>
struct ExpSum {
  Sum largest, total;  // of the scaled scores, of the exponentials
};

// scores[0..n) become exp(scale * score - largest). The loops run over whole vectors, since what is left over would
// take as long as many vectors; the elements behind the n-th become 0.
template <class Sum>
ExpSum<Sum> exp_row(Sum* scores, std::int64_t n, Sum scale) {
  const std::int64_t whole = rounded_up(n);
  Sum largest = -std::numeric_limits<Sum>::infinity(), total = 0;
  std::fill(scores + n, scores + whole, scores[0]);
#pragma omp simd reduction(max : largest)
  for (std::int64_t j = 0; j < whole; ++j) {
    const Sum scaled = scores[j] * scale;
    scores[j] = scaled;
    largest = largest < scaled ? scaled : largest;
  }
  std::fill(scores + n, scores + whole, -std::numeric_limits<Sum>::infinity());
#pragma omp simd reduction(+ : total)
  for (std::int64_t j = 0; j < whole; ++j) {
    scores[j] = cpu::exp(scores[j] - largest);
    total += scores[j];
  }
  return {largest, total};
}

// One block: the output rows and their logsumexp. The weights meet the values before they are divided by their sum,
// which is less work.
template <class T>
void forward_block(const Problem<T>& p, const Block& block, const HeadMatrices<T>& out, accumulate_t<T>* logsumexp) {
  using Sum = accumulate_t<T>;
  const Scores<T> scores(p);
  const PairMatrix<T> weights = in_element_type<T>(scores.raw, scores.rows, p.keys);
  const Scratch<Sum> products(block.rows * (p.width + 1));  // [rows, P], then one factor per row
  Sum* const factors = products.data() + block.rows * p.width;
  scores.compute(p, block);
  for (std::int64_t i = 0; i < block.rows; ++i) {
    const std::int64_t visible = block.visible(i);
    const auto [largest, total] = exp_row(scores.raw.row(i), visible, p.scale);
    narrow(scores.raw.row(i), weights.row(i), visible);
    std::fill(weights.row(i) + visible, weights.row(i) + block.keys, T(0));
    logsumexp[i] = largest + std::log(total);
    factors[i] = 1 / total;
  }
  cpu::gemm(block.rows, p.width, block.keys, Matrix<T>{weights.row(0), weights.stride()},
            p.value.matrix(block.batch, block.head, 0), products.data(), p.width);
  for (std::int64_t i = 0; i < block.rows; ++i) {
    const Sum* const product = products.data() + i * p.width;
    T* const row = out.row(block.batch, block.head, block.first + i);
    for (std::int64_t e = 0; e < p.width; ++e) row[e] = T(product[e] * factors[i]);
  }
}

template <class T>
void forward(const RelativeAttentionInputs& in, const Tensor& out, const Tensor& logsumexp) {
  const Problem<T> p(in);
  const HeadMatrices<T> result = head_matrices<T>(out);
  const Rows<accumulate_t<T>> logs = rows_of<accumulate_t<T>>(logsumexp);
  parallel_for(p.batches * p.heads * p.blocks(), 1, [&](std::int64_t task, std::int64_t) {
    const std::int64_t head_index = task / p.blocks();
    const Block block(p, head_index / p.heads, head_index % p.heads, task % p.blocks());
    forward_block(p, block, result, logs.row(head_index) + block.first);
  });
}

void relative_attention_cpu(const RelativeAttentionInputs& in, const Tensor& out, const Tensor& logsumexp) {
  if (out.numel() == 0) return;
  visit_floating("relative_attention", in.q.dtype(), [&]<class T>(Type<T>) { forward<T>(in, out, logsumexp); });
}

const bool on_cpu = relative_attention_kernel.add(DeviceKind::cpu, relative_attention_cpu);

}  // namespace
}  // namespace weir
