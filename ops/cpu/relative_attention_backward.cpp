// Relative attention on the CPU, backward: one task per head and group of batches. A task walks over its batches and,
// within each, over the blocks of queries from the last to the first: the last one sees every key and so initialises
// what the others add to. The groups' shares of dr, du, dv and dscale are added in order.
#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "ops/cpu/math.h"
#include "ops/cpu/relative_attention.h"

namespace weir {
namespace {

using namespace cpu::attention;
using cpu::gemm;
using cpu::GemmMode;
using cpu::Matrix;
using cpu::RightFactor;

// Groups of batches: enough tasks to share out, few enough that their partial sums stay small. By shape alone.
std::int64_t batch_groups(std::int64_t batches, std::int64_t heads) {
  return std::min(batches, std::max<std::int64_t>(1, 32 / heads));
}

// One group's share of the gradients that sum over batches, per head: dr [S, P], du [P], dv [P], dscale.
template <class Sum>
class SharedGradients {
 public:
  SharedGradients(std::int64_t groups, std::int64_t heads, std::int64_t keys, std::int64_t width)
      : groups_(groups),
        heads_(heads),
        keys_(keys),
        width_(width),
        dr_(groups * heads * keys * width),
        rest_(static_cast<std::size_t>(groups * heads * (2 * width + 1))) {}

  Sum* dr(std::int64_t group, std::int64_t head) const { return dr_.data() + (group * heads_ + head) * keys_ * width_; }
  Sum* du(std::int64_t group, std::int64_t head) { return rest_.data() + (group * heads_ + head) * (2 * width_ + 1); }
  Sum* dv(std::int64_t group, std::int64_t head) { return du(group, head) + width_; }
  Sum* dscale(std::int64_t group, std::int64_t head) { return du(group, head) + 2 * width_; }

  template <class T>
  void add_up(const RelativeAttentionInputs& d) {
    const HeadMatrices<T> out = head_matrices<T>(d.r);
    parallel_for(heads_ * keys_, grain_for(groups_ * width_), [&](std::int64_t begin, std::int64_t end) {
      std::vector<Sum> total(static_cast<std::size_t>(width_));
      for (std::int64_t item = begin; item < end; ++item) {
        const std::int64_t head = item / keys_, i = item % keys_;
        std::fill(total.begin(), total.end(), Sum(0));
        for (std::int64_t group = 0; group < groups_; ++group) add(dr(group, head) + i * width_, width_, total.data());
        for (std::int64_t e = 0; e < width_; ++e) out.row(0, head, i)[e] = T(total[static_cast<std::size_t>(e)]);
      }
    });
    const Rows<Sum> u = rows_of<Sum>(d.u), v = rows_of<Sum>(d.v);
    Sum& scale = *d.scale.data<Sum>();
    scale = 0;
    for (std::int64_t head = 0; head < heads_; ++head) {
      std::fill_n(u.row(head), width_, Sum(0));
      std::fill_n(v.row(head), width_, Sum(0));
      for (std::int64_t group = 0; group < groups_; ++group) {
        add(du(group, head), width_, u.row(head));
        add(dv(group, head), width_, v.row(head));
        scale += *dscale(group, head);
      }
    }
  }

 private:
  static void add(const Sum* from, std::int64_t n, Sum* into) {
    for (std::int64_t e = 0; e < n; ++e) into[e] += from[e];
  }

  std::int64_t groups_, heads_, keys_, width_;
  Scratch<Sum> dr_;
  std::vector<Sum> rest_;
};

// In place: the raw scores of a query become their gradient, the gradient of its softmax becomes the softmax. n visible
// keys; `mean` is the sum of weight * dweight. Returns this query's part of dscale. The loop runs over whole vectors;
// the elements behind the n-th are made such that they add nothing to it.
template <class Sum>
Sum backward_row(Sum* scores, Sum* weights, std::int64_t n, Sum scale, Sum log_sum, Sum mean) {
  const std::int64_t whole = rounded_up(n);
  std::fill(scores + n, scores + whole, scores[0]);
  std::fill(weights + n, weights + whole, mean);
  Sum dscale = 0;
#pragma omp simd reduction(+ : dscale)
  for (std::int64_t j = 0; j < whole; ++j) {
    const Sum score = scores[j], weight = cpu::exp(score * scale - log_sum), dlogit = weight * (weights[j] - mean);
    dscale += dlogit * score;
    weights[j] = weight;
    scores[j] = dlogit * scale;
  }
  return dscale;
}

template <class T>
struct Outputs {
  HeadMatrices<T> out, dout, dq, dk, dvalue;
  Rows<accumulate_t<T>> logsumexp;
};

// All of one head and one group of batches.
template <class T>
class GroupTask {
  using Sum = accumulate_t<T>;
  static constexpr bool kDirect = std::is_same_v<T, Sum>;  // dk and dv need no sums of another type

 public:
  GroupTask(const Problem<T>& problem, const Outputs<T>& outputs, std::int64_t head, Sum* dr, Sum* du, Sum* dv,
            Sum* dscale)
      : p(problem),
        y(outputs),
        dr_(dr),
        du_(du),
        dv_(dv),
        dscale_(dscale),
        head_(head),
        positions_across_(problem.width, problem.keys, problem.r.matrix(0, head, 0, true), p.float32_products),
        positions_(problem.keys, problem.width, problem.r.matrix(0, head, 0), p.float32_products),
        scores_(problem),
        dweights_(scores_.rows, problem.keys),
        dq_content_(scores_.rows * problem.width),
        dq_position_(scores_.rows * problem.width),
        dkv_(kDirect ? 0 : 2 * problem.keys * problem.width) {}

  void run_batch(std::int64_t batch, bool first_batch) {
    const BatchFactors factors(p, batch, head_);
    for (std::int64_t index = p.blocks() - 1; index >= 0; --index) {
      const Block block(p, batch, head_, index);
      const bool last_block = index == p.blocks() - 1;
      compute_pairs(factors, block);
      add_key_gradients(block, last_block);
      add_position_gradient(block, first_batch && last_block);
      write_query_gradient(factors, block);
    }
    if constexpr (!kDirect) convert_key_gradients(batch, head_);
  }

 private:
  struct BatchFactors {
    BatchFactors(const Problem<T>& p, std::int64_t batch, std::int64_t head)
        : keys_across(p.width, p.keys, p.k.matrix(batch, head, 0, true), p.float32_products),
          values_across(p.width, p.keys, p.value.matrix(batch, head, 0, true), p.float32_products),
          keys(p.keys, p.width, p.k.matrix(batch, head, 0), p.float32_products) {}

    RightFactor<T> keys_across, values_across;  // [P, S]
    RightFactor<T> keys;                        // [S, P]
  };

  // The raw scores become their gradient, the gradient of the weights becomes the weights.
  void compute_pairs(const BatchFactors& factors, const Block& block) {
    scores_.compute(p, factors.keys_across, positions_across_, block);
    const Matrix<T> dout = y.dout.matrix(block.batch, block.head, block.first);
    gemm(block.rows, block.keys, p.width, dout, factors.values_across.at(0, 0), dweights_.row(0), dweights_.stride());
    const Sum* const log_sums = y.logsumexp.row(block.batch * p.heads + block.head) + block.first;
    Sum dscale = 0;
    for (std::int64_t i = 0; i < block.rows; ++i) {
      const Sum mean = dot(y.out.row(block.batch, block.head, block.first + i), dout.data + i * dout.stride);
      const std::int64_t visible = block.visible(i);
      dscale += backward_row(scores_.raw.row(i), dweights_.row(i), visible, p.scale, log_sums[i], mean);
      scores_.raw.clear_masked(block, i);
      std::fill(dweights_.row(i) + visible, dweights_.row(i) + block.keys, Sum(0));
    }
    *dscale_ += dscale;
  }

  Sum dot(const T* a, const T* b) const {
    Sum sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t e = 0; e < p.width; ++e) sum += static_cast<Sum>(a[e]) * static_cast<Sum>(b[e]);
    return sum;
  }

  void add_key_gradients(const Block& block, bool initialise) {
    const GemmMode mode = initialise ? GemmMode::overwrite : GemmMode::accumulate;
    Sum *dk = nullptr, *dvalue = nullptr;
    std::int64_t stride = p.width;
    if constexpr (kDirect) {
      dk = y.dk.row(block.batch, block.head, 0);
      dvalue = y.dvalue.row(block.batch, block.head, 0);
      stride = y.dk.stride;
    } else {
      dk = dkv_.data();
      dvalue = dk + p.keys * p.width;
    }
    gemm(block.keys, p.width, block.rows, dscores().matrix(true), scores_.content(), dk, stride, p.float32_products,
         mode);
    gemm(block.keys, p.width, block.rows, weights().matrix(true), y.dout.matrix(block.batch, block.head, block.first),
         dvalue, stride, p.float32_products, mode);
  }

  void convert_key_gradients(std::int64_t batch, std::int64_t head) const {
    const Sum *const dk = dkv_.data(), *const dvalue = dkv_.data() + p.keys * p.width;
    for (std::int64_t j = 0; j < p.keys; ++j)
      for (std::int64_t e = 0; e < p.width; ++e) {
        y.dk.row(batch, head, j)[e] = T(dk[j * p.width + e]);
        y.dvalue.row(batch, head, j)[e] = T(dvalue[j * p.width + e]);
      }
  }

  void add_position_gradient(const Block& block, bool initialise) {
    gemm(block.keys, p.width, block.rows, dscores().matrix_by_position(block, true), scores_.position(),
         dr_ + block.first_position * p.width, p.width, p.float32_products,
         initialise ? GemmMode::overwrite : GemmMode::accumulate);
  }

  // dq = dscores K + dscores R; the sums of the two parts over the queries are du and dv.
  void write_query_gradient(const BatchFactors& factors, const Block& block) {
    Sum *const content = dq_content_.data(), *const position = dq_position_.data();
    gemm(block.rows, p.width, block.keys, dscores().matrix(), factors.keys.at(0, 0), content, p.width);
    gemm(block.rows, p.width, block.keys, dscores().matrix_by_position(block), positions_.at(block.first_position, 0),
         position, p.width);
    for (std::int64_t i = 0; i < block.rows; ++i) {
      T* const dq = y.dq.row(block.batch, block.head, block.first + i);
      Sum* const c = content + i * p.width;
      const Sum* const r = position + i * p.width;
#pragma omp simd
      for (std::int64_t e = 0; e < p.width; ++e) {
        du_[e] += c[e];
        dv_[e] += r[e];
        c[e] += r[e];
      }
      for (std::int64_t e = 0; e < p.width; ++e) dq[e] = T(c[e]);
    }
  }

  // What compute_pairs leaves behind.
  const PairMatrix<Sum>& dscores() const { return scores_.raw; }
  const PairMatrix<Sum>& weights() const { return dweights_; }

  const Problem<T>& p;
  const Outputs<T>& y;
  Sum *dr_, *du_, *dv_, *dscale_;
  std::int64_t head_;
  RightFactor<T> positions_across_, positions_;  // [P, S], [S, P]
  Scores<T> scores_;
  PairMatrix<Sum> dweights_;
  Scratch<Sum> dq_content_, dq_position_, dkv_;
};

template <class T>
void backward(const RelativeAttentionInputs& in, const Tensor& out, const Tensor& logsumexp, const Tensor& dout,
              Float32Products products, const RelativeAttentionInputs& d) {
  using Sum = accumulate_t<T>;
  const Problem<T> p(in, products);
  const Tensor plain_dout = with_plain_rows(dout, 1);
  const Outputs<T> outputs{head_matrices<T>(out),  head_matrices<T>(plain_dout),    head_matrices<T>(d.q),
                           head_matrices<T>(d.kv), head_matrices<T>(d.kv, p.width), rows_of<Sum>(logsumexp)};
  const std::int64_t groups = batch_groups(p.batches, p.heads);
  SharedGradients<Sum> shared(groups, p.heads, p.keys, p.width);
  parallel_for(groups * p.heads, 1, [&](std::int64_t task, std::int64_t) {
    const std::int64_t group = task / p.heads, head = task % p.heads;
    const std::int64_t begin = p.batches * group / groups, end = p.batches * (group + 1) / groups;
    GroupTask<T> work(p, outputs, head, shared.dr(group, head), shared.du(group, head), shared.dv(group, head),
                      shared.dscale(group, head));
    for (std::int64_t batch = begin; batch < end; ++batch) work.run_batch(batch, batch == begin);
  });
  shared.template add_up<T>(d);
}

void relative_attention_backward_cpu(const RelativeAttentionInputs& in, const Tensor& out, const Tensor& logsumexp,
                                     const Tensor& dout, Float32Products products, const RelativeAttentionInputs& d) {
  if (out.numel() == 0) {
    for (const Tensor& t : {d.q, d.kv, d.r, d.u, d.v, d.scale}) fill(t, 0);
    return;
  }
  visit_floating("relative_attention", in.q.dtype(),
                 [&]<class T>(Type<T>) { backward<T>(in, out, logsumexp, dout, products, d); });
}

const bool on_cpu = relative_attention_backward_kernel.add(DeviceKind::cpu, relative_attention_backward_cpu);

}  // namespace
}  // namespace weir
