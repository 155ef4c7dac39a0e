#include "ops/relative_attention.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "autograd/backward.h"
#include "core/error.h"
#include "ops/add.h"
#include "ops/broadcast_to.h"
#include "ops/cast.h"
#include "ops/concatenate.h"
#include "ops/matmul.h"
#include "ops/multiply.h"
#include "ops/permute.h"
#include "ops/reshape.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "ops/support/attention.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const RelativeAttentionInputs&, Float32Products, const Tensor&, const Tensor&)>
    relative_attention_kernel{"relative_attention", [](const RelativeAttentionInputs& in, auto... rest) {
                                return attention_cost(3, in.q, in.kv.size(1), in, rest...);
                              }};
constinit Kernel<void(const RelativeAttentionInputs&, const Tensor&, const Tensor&, const Tensor&, Float32Products,
                      const RelativeAttentionInputs&)>
    relative_attention_backward_kernel{"relative_attention backward",
                                       // The scores are computed again, and each product has two gradients.
                                       [](const RelativeAttentionInputs& in, auto... rest) {
                                         return attention_cost(8, in.q, in.kv.size(1), in, rest...);
                                       }};

namespace {

constexpr const char* kName = "relative_attention";

void check_inputs(const RelativeAttentionInputs& in) {
  check_floating(kName, "q", in.q);
  check_rank(kName, "q", in.q, 4);
  check_rank(kName, "kv", in.kv, 5);
  const std::int64_t keys = in.kv.size(1), heads = in.q.size(2), width = in.q.size(3);
  check_shape(kName, "kv", in.kv, {in.q.size(0), keys, heads, 2, width});
  if (keys < in.q.size(1))
    throw ArgumentError(
        fmt::format("{}: {} keys for {} queries; the keys are the memory positions and then the "
                    "queries' own, so there must be at least as many",
                    kName, keys, in.q.size(1)));
  check_shape(kName, "r", in.r, {keys, heads, width});
  check_shape(kName, "u", in.u, {heads, width});
  check_shape(kName, "v", in.v, {heads, width});
  check_shape(kName, "scale", in.scale, {1});
  check_same_dtype(kName, in.q, in.kv);
  check_same_dtype(kName, in.q, in.r);
  for (const Tensor& t : {in.u, in.v, in.scale})
    if (t.dtype() != DType::float32 || in.q.dtype() != DType::bf16) check_same_dtype(kName, in.q, t);
}

std::vector<Tensor> backward_of(const RelativeAttentionInputs& in, const Tensor& out, const Tensor& logsumexp,
                                const Tensor& dout, Float32Products products, std::span<const DType> parameter_dtypes) {
  const RelativeAttentionInputs d{empty_with_merged_row(in.q.shape(), 2, in.q),
                                  empty_with_merged_row(in.kv.shape(), 2, in.kv),
                                  empty_with_merged_row(in.r.shape(), 1, in.r),
                                  Tensor::empty_like(in.u),
                                  Tensor::empty_like(in.v),
                                  Tensor::empty_like(in.scale)};
  relative_attention_backward_kernel(in.q.device(), in, out, logsumexp, dout, products, d);
  return {d.q,
          d.kv,
          d.r,
          converted(d.u, parameter_dtypes[0]),
          converted(d.v, parameter_dtypes[1]),
          converted(d.scale, parameter_dtypes[2])};
}

}  // namespace

Tensor relative_attention(const Tensor& q, const Tensor& kv, const Tensor& r, const Tensor& u, const Tensor& v,
                          const Tensor& scale, Float32Products products) {
  check_inputs({q, kv, r, u, v, scale});
  const DType sums = accumulate_dtype(q.dtype());
  const auto exact = [sums](const Tensor& t) { return t.dtype() == sums ? t : converted(t.detach(), sums); };
  const RelativeAttentionInputs in{q, kv, r, exact(u), exact(v), exact(scale)};
  Tensor out = empty_with_merged_row(q.shape(), 2, q);
  const Tensor logsumexp = Tensor::empty({q.size(0), q.size(2), q.size(1)}, sums, q.device());
  relative_attention_kernel(q.device(), in, products, out, logsumexp);
  Backward back(kName, {q, kv, r, u, v, scale}, {out});
  back.once_differentiable([q = back.keep(q), kv = back.keep(kv), r = back.keep(r), u = back.keep(in.u),
                            v = back.keep(in.v), scale = back.keep(in.scale), out = back.keep(out), logsumexp, products,
                            dtypes = std::array{u.dtype(), v.dtype(), scale.dtype()}](std::span<const Tensor> dys) {
    return backward_of({q.get(), kv.get(), r.get(), u.get(), v.get(), scale.get()}, out.get(), logsumexp, dys[0],
                       products, dtypes);
  });
  return out;
}

namespace {

// x [B, H, T, S], column c for the relative position c - (S - 1), to [B, H, T, S] by key. A zero column in front makes
// each row one longer than S; read again in rows of S, minus the first T elements, row i has moved left by T - 1 - i.
// What comes in from the next row lies behind the mask.
Tensor shift_to_keys(const Tensor& x) {
  const std::int64_t B = x.size(0), H = x.size(1), T = x.size(2), S = x.size(3);
  const Tensor zeros = Tensor::zeros({B, H, T, 1}, x.dtype(), x.device());
  const Tensor padded = reshape(concatenate(std::array{zeros, x}, -1), {B, H, S + 1, T});
  return reshape(slice(padded, 2, 1, S + 1), {B, H, T, S});
}

}  // namespace

Tensor relative_attention_composed(const Tensor& q, const Tensor& kv, const Tensor& r, const Tensor& u, const Tensor& v,
                                   const Tensor& scale, Float32Products products) {
  check_inputs({q, kv, r, u, v, scale});
  const std::int64_t B = q.size(0), T = q.size(1), S = kv.size(1), H = q.size(2), P = q.size(3);
  const auto bias = [&](const Tensor& t) { return reshape(cast(t, q.dtype()), {H, 1, P}); };
  const auto half = [&](std::int64_t i) { return reshape(slice(kv, 3, i, i + 1), {B, S, H, P}); };
  const Tensor queries = permute(q, std::array{0, 2, 1, 3});       // [B, H, T, P]
  const Tensor keys = permute(half(0), std::array{0, 2, 3, 1});    // [B, H, P, S]
  const Tensor values = permute(half(1), std::array{0, 2, 1, 3});  // [B, H, S, P]
  const Tensor positions = permute(r, std::array{1, 2, 0});        // [H, P, S]
  const Tensor content = matmul(queries + bias(u), keys, products);
  const Tensor position = shift_to_keys(matmul(queries + bias(v), positions, products));
  const Tensor logits = (content + position) * cast(scale, q.dtype()) + causal_mask(T, S, q);  // [B, H, T, S]
  return permute(matmul(softmax(logits), values, products), std::array{0, 2, 1, 3});
}

namespace {

struct Extents {
  std::int64_t batches, queries, keys, heads, width;
};

// Query by query, key by key, as the header's formula reads.
Tensor reference(std::span<const Tensor> in) {
  const auto [B, T, S, H, P] = Extents{in[0].size(0), in[0].size(1), in[1].size(1), in[0].size(2), in[0].size(3)};
  const std::vector<double> q = in[0].values(), kv = in[1].values(), r = in[2].values(), u = in[3].values(),
                            v = in[4].values();
  const double scale = in[5].item();
  std::vector<double> out(q.size());
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t h = 0; h < H; ++h)
      for (std::int64_t i = 0; i < T; ++i) {
        const auto query = static_cast<std::size_t>(((b * T + i) * H + h) * P);
        const std::int64_t position = i + S - T;
        double total = 0;
        for (std::int64_t j = 0; j <= position; ++j) {
          const auto key = static_cast<std::size_t>(((b * S + j) * H + h) * 2 * P);
          const auto row = static_cast<std::size_t>(((S - 1 - position + j) * H + h) * P);
          double logit = 0;
          for (std::size_t p = 0; p < static_cast<std::size_t>(P); ++p) {
            const std::size_t bias = static_cast<std::size_t>(h * P) + p;
            logit += (q[query + p] + u[bias]) * kv[key + p] + (q[query + p] + v[bias]) * r[row + p];
          }
          const double weight = std::exp(scale * logit);
          total += weight;
          for (std::size_t p = 0; p < static_cast<std::size_t>(P); ++p)
            out[query + p] += weight * kv[key + static_cast<std::size_t>(P) + p];
        }
        for (std::size_t p = 0; p < static_cast<std::size_t>(P); ++p) out[query + p] /= total;
      }
  return Tensor::from_values(in[0].shape(), out);
}

using Attention = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                             Float32Products);

// One of the two forms as the suite calls it.
TensorFunction runner(Attention attention) {
  return [attention](std::span<const Tensor> in) {
    return std::vector{attention(in[0], in[1], in[2], in[3], in[4], in[5], Float32Products::ieee)};
  };
}

std::vector<Tensor> random_inputs(const Extents& e) {
  return {random_tensor({e.batches, e.queries, e.heads, e.width}, 1),
          random_tensor({e.batches, e.keys, e.heads, 2, e.width}, 2),
          random_tensor({e.keys, e.heads, e.width}, 3),
          random_tensor({e.heads, e.width}, 4),
          random_tensor({e.heads, e.width}, 5),
          Tensor::full({1}, 0.4, DType::float64)};
}

Sample sample(Attention attention, const std::string& name, const Extents& extents) {
  return {name, random_inputs(extents), runner(attention),
          [](std::span<const Tensor> in) { return std::vector{reference(in)}; }, runner(relative_attention_composed)};
}

// Everything of one element; the key serves as the value too.
Sample size_one_sample(Attention attention) {
  std::vector<Tensor> inputs = random_inputs({1, 1, 1, 1, 1});
  inputs[1] = random_tensor({1, 1, 1, 1, 1}, 2);
  const auto doubled = [](std::span<const Tensor> in) {
    std::vector<Tensor> result(in.begin(), in.end());
    result[1] = broadcast_to(in[1], {1, 1, 1, 2, 1});
    return result;
  };
  return {"size one", inputs,
          [doubled, run = runner(attention)](std::span<const Tensor> in) { return run(doubled(in)); },
          [doubled](std::span<const Tensor> in) { return std::vector{reference(doubled(in))}; }};
}

std::vector<Sample> samples(Attention attention) {
  std::vector<Sample> result{sample(attention, "no memory", {2, 8, 8, 2, 16}),
                             sample(attention, "memory", {2, 8, 20, 2, 16}),
                             sample(attention, "odd", {3, 7, 11, 3, 5}),
                             sample(attention, "several blocks", {2, 150, 163, 1, 8}),
                             sample(attention, "blocks without memory", {1, 131, 131, 2, 3}),
                             sample(attention, "many batches", {37, 3, 5, 2, 2}),
                             sample(attention, "one query", {2, 1, 9, 3, 41}),
                             sample(attention, "one key", {2, 1, 1, 2, 4}),
                             sample(attention, "zero batch", {0, 3, 5, 2, 4}),
                             sample(attention, "no queries", {2, 0, 3, 2, 4}),
                             size_one_sample(attention)};
  result.push_back(sample(attention, "zero scale", {1, 5, 8, 2, 4}));
  result.back().inputs[5] = Tensor::zeros({1}, DType::float64);
  return result;
}

std::vector<BadSample> bad_samples(Attention attention) {
  const auto call = [attention](const Extents& e, const std::function<void(std::vector<Tensor>&)>& spoil) {
    return [=] {
      std::vector<Tensor> in = random_inputs(e);
      spoil(in);
      runner(attention)(in);
    };
  };
  const auto zeros = [](const Shape& shape, DType dtype = DType::float64) { return Tensor::zeros(shape, dtype); };
  return {{"too few keys", call({1, 4, 3, 2, 5}, [](auto&) {}), "relative_attention: 3 keys for 4 queries"},
          {"kv",
           call({1, 2, 3, 2, 5},
                [=](auto& in) {
                  in[1] = zeros({1, 3, 2, 1, 5});
                }),
           "relative_attention: expected kv of shape [1, 3, 2, 2, 5], got [1, 3, 2, 1, 5]"},
          {"r",
           call({1, 2, 3, 2, 5},
                [=](auto& in) {
                  in[2] = zeros({2, 2, 5});
                }),
           "relative_attention: expected r of shape [3, 2, 5], got [2, 2, 5]"},
          {"scale", call({1, 2, 3, 2, 5}, [=](auto& in) { in[5] = zeros({}); }),
           "relative_attention: expected scale of shape [1], got []"},
          {"dtypes",
           call({1, 2, 3, 2, 5},
                [=](auto& in) {
                  in[3] = zeros({2, 5}, DType::float32);
                }),
           "relative_attention: expected one dtype on both sides, got float64 and float32"},
          {"integers",
           call({1, 2, 3, 2, 5},
                [=](auto& in) {
                  in[0] = zeros({1, 2, 2, 5}, DType::int32);
                }),
           "relative_attention: expected q of a floating dtype, got int32"}};
}

// Three products of P per visible pair; every tensor touched once (float32).
const OpRegistration registration{{
    .name = kName,
    .source = __FILE__,
    .signature = "relative_attention(q, kv, r, u, v, scale, Float32Products = ieee)",
    .summary = "causal attention over memory and queries with Transformer-XL's relative positions; "
               "q [B, T, H, P], kv [B, S, H, 2, P], r [S, H, P], u and v [H, P], scale [1]",
    .samples = [] { return samples(relative_attention); },
    .large =
        [] {
          return sample(relative_attention, "large", {4, 256, 512, 10, 41});
        },
    .bad_samples = [] { return bad_samples(relative_attention); },
}};

const OpRegistration composed_registration{{
    .name = "relative_attention_composed",
    .source = __FILE__,
    .signature = "relative_attention_composed(q, kv, r, u, v, scale, Float32Products = ieee)",
    .summary = "relative_attention from other ops, differentiable twice",
    .samples = [] { return samples(relative_attention_composed); },
    .large =
        [] {
          return sample(relative_attention_composed, "large", {4, 256, 512, 10, 41});
        },
    .bad_samples = [] { return bad_samples(relative_attention_composed); },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
