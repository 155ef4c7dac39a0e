// Relative attention on the CPU, forward: one task for some blocks of queries of a batch and head.
#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "ops/cpu/relative_attention.h"

namespace weir {
namespace {

using namespace cpu::attention;
using cpu::gemm;
using cpu::RightFactor;

// Consecutive blocks of one batch and head.
template <class T>
class HeadTask {
  using Sum = accumulate_t<T>;

 public:
  HeadTask(const Problem<T>& problem, std::int64_t batch, std::int64_t head)
      : p(problem),
        keys_across_(problem.width, problem.keys, problem.k.matrix(batch, head, 0, true), p.float32_products),
        positions_across_(problem.width, problem.keys, problem.r.matrix(0, head, 0, true), p.float32_products),
        values_(problem.keys, problem.width, problem.value.matrix(batch, head, 0), p.float32_products),
        scores_(problem),
        products_(scores_.rows * (problem.width + 1)) {}

  // The output rows and their logsumexp. The weights meet the values before they are divided by their sum, which is
  // less work.
  void run(const Block& block, const HeadMatrices<T>& out, Sum* logsumexp) const {
    Sum *const products = products_.data(), *const factors = products + block.rows * p.width;
    scores_.compute(p, keys_across_, positions_across_, block);
    for (std::int64_t i = 0; i < block.rows; ++i) {
      Sum* const row = scores_.raw.row(i);
      const std::int64_t visible = block.visible(i);
      const auto [largest, total] = exp_row(row, visible, p.scale);
      std::fill(row + visible, row + block.keys, Sum(0));
      logsumexp[i] = largest + std::log(total);
      factors[i] = 1 / total;
    }
    gemm(block.rows, p.width, block.keys, scores_.raw.matrix(), values_.at(0, 0), products, p.width);
    write_rows(out, block, products, factors, p.width);
  }

 private:
  const Problem<T>& p;
  RightFactor<T> keys_across_, positions_across_;  // [P, S]
  RightFactor<T> values_;                          // [S, P]
  Scores<T> scores_;
  Scratch<Sum> products_;  // [rows, P], then one factor per row
};

template <class T>
void forward(const RelativeAttentionInputs& in, Float32Products products, const Tensor& out, const Tensor& logsumexp) {
  const Problem<T> p(in, products);
  const HeadMatrices<T> result = head_matrices<T>(out);
  const Rows<accumulate_t<T>> logs = rows_of<accumulate_t<T>>(logsumexp);
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

void relative_attention_cpu(const RelativeAttentionInputs& in, Float32Products products, const Tensor& out,
                            const Tensor& logsumexp) {
  if (out.numel() == 0) return;
  visit_floating("relative_attention", in.q.dtype(),
                 [&]<class T>(Type<T>) { forward<T>(in, products, out, logsumexp); });
}

const bool on_cpu = relative_attention_kernel.add(DeviceKind::cpu, relative_attention_cpu);

}  // namespace
}  // namespace weir
