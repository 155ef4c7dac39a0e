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

// scores[0..n) become the softmax of scale * scores. Returns log(sum of exp(scale * score)).
template <class Sum>
Sum softmax_row(Sum* scores, std::int64_t n, Sum scale) {
  Sum largest = -std::numeric_limits<Sum>::infinity(), total = 0;
#pragma omp simd reduction(max : largest)
  for (std::int64_t j = 0; j < n; ++j) {
    scores[j] *= scale;
    largest = std::max(largest, scores[j]);
  }
#pragma omp simd reduction(+ : total)
  for (std::int64_t j = 0; j < n; ++j) {
    scores[j] = cpu::exp(scores[j] - largest);
    total += scores[j];
  }
  const Sum factor = 1 / total;
  for (std::int64_t j = 0; j < n; ++j) scores[j] *= factor;
  return largest + std::log(total);
}

template <class T>
void forward(const RelativeAttentionInputs& in, const Tensor& out, const Tensor& logsumexp) {
  using Sum = accumulate_t<T>;
  const Problem<T> p(in);
  const HeadMatrices<T> result = head_matrices<T>(out);
  const Rows<Sum> logs = rows_of<Sum>(logsumexp);
  parallel_for(p.batches * p.heads * p.blocks(), 1, [&](std::int64_t task, std::int64_t) {
    const std::int64_t head_index = task / p.blocks();
    const Block block(p, head_index / p.heads, head_index % p.heads, task % p.blocks());
    const Scores<T> scores(p);
    const PairMatrix<T> weights = in_element_type<T>(scores.raw, scores.rows, p.keys);
    scores.compute(p, block);
    for (std::int64_t i = 0; i < block.rows; ++i) {
      const std::int64_t visible = block.visible(i);
      logs.row(head_index)[block.first + i] = softmax_row(scores.raw.row(i), visible, p.scale);
      narrow(scores.raw.row(i), weights.row(i), visible);
      std::fill(weights.row(i) + visible, weights.row(i) + block.keys, T(0));
    }
    cpu::gemm(block.rows, p.width, block.keys, Matrix<T>{weights.row(0), weights.stride()},
              p.value.matrix(block.batch, block.head, 0), result.row(block.batch, block.head, block.first),
              result.stride);
  });
}

void relative_attention_cpu(const RelativeAttentionInputs& in, const Tensor& out, const Tensor& logsumexp) {
  if (out.numel() == 0) return;
  visit_floating("relative_attention", in.q.dtype(), [&]<class T>(Type<T>) { forward<T>(in, out, logsumexp); });
}

const bool on_cpu = relative_attention_kernel.add(DeviceKind::cpu, relative_attention_cpu);

}  // namespace
}  // namespace weir
