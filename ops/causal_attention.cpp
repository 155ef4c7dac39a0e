#include "ops/causal_attention.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "autograd/backward.h"
#include "core/error.h"
#include "ops/add.h"
#include "ops/broadcast_to.h"
#include "ops/matmul.h"
#include "ops/permute.h"
#include "ops/scale.h"
#include "ops/softmax.h"
#include "ops/support/attention.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const CausalAttentionInputs&, Float32Products, const Tensor&, const Tensor&)>
    causal_attention_kernel{"causal_attention", [](const CausalAttentionInputs& in, auto... rest) {
                              return attention_cost(2, in.q, in.k.size(1), in, rest...);
                            }};
constinit Kernel<void(const CausalAttentionInputs&, const Tensor&, const Tensor&, const Tensor&, Float32Products,
                      const CausalAttentionGradients&)>
    causal_attention_backward_kernel{"causal_attention backward",
                                     // The scores are computed again, and each product has two gradients.
                                     [](const CausalAttentionInputs& in, auto... rest) {
                                       return attention_cost(5, in.q, in.k.size(1), in, rest...);
                                     }};

namespace {

constexpr const char* kName = "causal_attention";

void check_inputs(const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
  check_floating(kName, "q", q);
  check_rank(kName, "q", q, 4);
  check_rank(kName, "k", k, 4);
  check_shape(kName, "k", k, {q.size(0), k.size(1), q.size(2), q.size(3)});
  check_shape(kName, "v", v, k.shape());
  if (k.size(1) < q.size(1))
    throw ArgumentError(
        fmt::format("{}: {} keys for {} queries; the keys are those of earlier tokens and then the queries' own, so "
                    "there must be at least as many",
                    kName, k.size(1), q.size(1)));
  check_same_dtype(kName, q, k);
  check_same_dtype(kName, q, v);
  if (!std::isfinite(scale)) throw ArgumentError(fmt::format("{}: expected a finite scale, got {}", kName, scale));
}

}  // namespace

Tensor causal_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, Float32Products products) {
  check_inputs(q, k, v, scale);
  Tensor out = empty_with_merged_row(q.shape(), 2, q);
  const Tensor logsumexp = Tensor::empty({q.size(0), q.size(2), q.size(1)}, accumulate_dtype(q.dtype()), q.device());
  causal_attention_kernel(q.device(), CausalAttentionInputs{q, k, v, scale}, products, out, logsumexp);
  Backward back(kName, {q, k, v}, {out});
  back.once_differentiable([q = back.keep(q), k = back.keep(k), v = back.keep(v), scale, out = back.keep(out),
                            logsumexp, products](std::span<const Tensor> dys) {
    const CausalAttentionInputs in{q.get(), k.get(), v.get(), scale};
    const CausalAttentionGradients d{empty_with_merged_row(in.q.shape(), 2, in.q),
                                     empty_with_merged_row(in.k.shape(), 2, in.k),
                                     empty_with_merged_row(in.v.shape(), 2, in.v)};
    causal_attention_backward_kernel(in.q.device(), in, out.get(), logsumexp, dys[0], products, d);
    return std::vector{d.dq, d.dk, d.dv};
  });
  return out;
}

Tensor causal_attention_composed(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                                 Float32Products products) {
  check_inputs(q, k, v, scale);
  const Tensor queries = permute(q, std::array{0, 2, 1, 3});  // [B, H, T, P]
  const Tensor keys = permute(k, std::array{0, 2, 3, 1});     // [B, H, P, S]
  const Tensor values = permute(v, std::array{0, 2, 1, 3});   // [B, H, S, P]
  const Tensor scores = weir::scale(matmul(queries, keys, products), scale);
  const Tensor weights = softmax(scores + causal_mask(q.size(1), k.size(1), q));  // [B, H, T, S]
  return permute(matmul(weights, values, products), std::array{0, 2, 1, 3});
}

namespace {

struct Extents {
  std::int64_t batches, queries, keys, heads, width;
};

// Query by query, key by key, as the header's formula reads.
Tensor reference(std::span<const Tensor> in, double scale) {
  const auto [B, T, S, H, P] = Extents{in[0].size(0), in[0].size(1), in[1].size(1), in[0].size(2), in[0].size(3)};
  const std::vector<double> q = in[0].values(), k = in[1].values(), v = in[2].values();
  std::vector<double> out(q.size());
  const auto width = static_cast<std::size_t>(P);
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t i = 0; i < T; ++i)
      for (std::int64_t h = 0; h < H; ++h) {
        const auto query = static_cast<std::size_t>(((b * T + i) * H + h) * P);
        double total = 0;
        for (std::int64_t j = 0; j <= i + S - T; ++j) {
          const auto key = static_cast<std::size_t>(((b * S + j) * H + h) * P);
          double score = 0;
          for (std::size_t p = 0; p < width; ++p) score += q[query + p] * k[key + p];
          const double weight = std::exp(scale * score);
          total += weight;
          for (std::size_t p = 0; p < width; ++p) out[query + p] += weight * v[key + p];
        }
        for (std::size_t p = 0; p < width; ++p) out[query + p] /= total;
      }
  return Tensor::from_values(in[0].shape(), out);
}

using Attention = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, double, Float32Products);

std::vector<Tensor> random_inputs(const Extents& e) {
  return {random_tensor({e.batches, e.queries, e.heads, e.width}, 1),
          random_tensor({e.batches, e.keys, e.heads, e.width}, 2),
          random_tensor({e.batches, e.keys, e.heads, e.width}, 3)};
}

Sample sample(Attention attention, const std::string& name, const Extents& extents, double scale = 0.4) {
  return {
      name, random_inputs(extents),
      [=](std::span<const Tensor> in) {
        return std::vector{attention(in[0], in[1], in[2], scale, Float32Products::ieee)};
      },
      [=](std::span<const Tensor> in) { return std::vector{reference(in, scale)}; },
      [=](std::span<const Tensor> in) { return std::vector{causal_attention_composed(in[0], in[1], in[2], scale)}; }};
}

std::vector<Sample> samples(Attention attention) {
  return {sample(attention, "no earlier keys", {2, 8, 8, 2, 16}),
          sample(attention, "earlier keys", {2, 8, 20, 2, 16}),
          sample(attention, "odd", {3, 7, 11, 3, 5}),
          sample(attention, "several blocks", {2, 150, 163, 1, 8}),
          sample(attention, "blocks without earlier keys", {1, 131, 131, 2, 3}),
          sample(attention, "many batches", {37, 3, 5, 2, 2}),
          sample(attention, "one query", {2, 1, 9, 3, 41}),
          sample(attention, "one key", {2, 1, 1, 2, 4}),
          sample(attention, "negative scale", {1, 5, 8, 2, 4}, -1.5),
          sample(attention, "zero scale", {1, 5, 8, 2, 4}, 0),
          sample(attention, "zero batch", {0, 3, 5, 2, 4}),
          sample(attention, "no queries", {2, 0, 3, 2, 4}),
          sample(attention, "size one", {1, 1, 1, 1, 1})};
}

std::vector<BadSample> bad_samples(Attention attention) {
  const auto call = [attention](const Shape& q, const Shape& k, const Shape& v, DType value_dtype = DType::float64,
                                double scale = 1, DType query_dtype = DType::float64) {
    return [=] {
      attention(Tensor::zeros(q, query_dtype), Tensor::zeros(k, DType::float64), Tensor::zeros(v, value_dtype), scale,
                Float32Products::ieee);
    };
  };
  const Shape q{1, 2, 3, 5}, k{1, 4, 3, 5};
  return {
      {"too few keys", call({1, 5, 3, 5}, k, k), "causal_attention: 4 keys for 5 queries"},
      {"heads of k", call(q, {1, 4, 2, 5}, k), "causal_attention: expected k of shape [1, 4, 3, 5], got [1, 4, 2, 5]"},
      {"fewer values", call(q, k, {1, 3, 3, 5}),
       "causal_attention: expected v of shape [1, 4, 3, 5], got [1, 3, 3, 5]"},
      {"three axes", call(q, {4, 3, 5}, k), "causal_attention: expected k"},
      {"dtypes", call(q, k, k, DType::float32),
       "causal_attention: expected one dtype on both sides, got float64 and float32"},
      {"scale", call(q, k, k, DType::float64, INFINITY), "causal_attention: expected a finite scale, got inf"},
      {"integers", call(q, k, k, DType::float64, 1, DType::int32),
       "causal_attention: expected q of a floating dtype, got int32"}};
}

// Two products of P per visible pair; every tensor touched once (float32).
const OpRegistration registration{{
    .name = kName,
    .source = __FILE__,
    .signature = "causal_attention(q, k, v, scale, Float32Products = ieee)",
    .summary = "softmax(scale q k^T) v of each head, where query i sees the keys up to i + S - T; q [B, T, H, P], "
               "k and v [B, S, H, P]",
    .samples = [] { return samples(causal_attention); },
    .large =
        [] {
          return sample(causal_attention, "large", {4, 512, 512, 8, 64});
        },
    .bad_samples = [] { return bad_samples(causal_attention); },
}};

const OpRegistration composed_registration{{
    .name = "causal_attention_composed",
    .source = __FILE__,
    .signature = "causal_attention_composed(q, k, v, scale, Float32Products = ieee)",
    .summary = "causal_attention from other ops, differentiable twice",
    .samples = [] { return samples(causal_attention_composed); },
    .large =
        [] {
          return sample(causal_attention_composed, "large", {4, 512, 512, 8, 64});
        },
    .bad_samples = [] { return bad_samples(causal_attention_composed); },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
