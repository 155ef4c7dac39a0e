#include "ops/route_top_k.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/add.h"
#include "ops/add_scalar.h"
#include "ops/cpu/keep.h"
#include "ops/cpu/math.h"
#include "ops/cpu/rank_key.h"
#include "ops/dropout.h"
#include "ops/multiply.h"
#include "ops/scale.h"
#include "ops/sigmoid.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"
#include "ops/take_along.h"
#include "ops/top_k.h"

namespace weir {

constinit Kernel<void(const Tensor&, double, const RandomStream&, const Tensor&, const Tensor&)> route_top_k_kernel{
    "route_top_k"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&)> route_top_k_backward_kernel{
    "route_top_k backward"};

namespace {

// gate, dgate, index: [..., K] -> [..., E]. A gate is a constant 0 where its expert is barred, and a sigmoid elsewhere;
// the derivative y (1 - y) serves both.
Tensor route_top_k_backward(const Tensor& gate, const Tensor& index, const Tensor& dgate, const Shape& shape) {
  const Tensor dlogits = Tensor::empty(shape, dgate.dtype(), dgate.device());
  route_top_k_backward_kernel(dgate.device(), gate, index, dgate, dlogits);
  Backward back("route_top_k backward", {gate, dgate}, {dlogits});
  back.input(0, [index = back.keep(index), gate = back.keep(gate), dgate = back.keep(dgate)](const Tensor& d) {
    return take_along(d, index.get()) * dgate.get() * add_scalar(scale(gate.get(), -2), 1);
  });
  back.input(1, [index = back.keep(index), gate = back.keep(gate)](const Tensor& d) {
    return take_along(d, index.get()) * gate.get() * add_scalar(scale(gate.get(), -1), 1);
  });
  return dlogits;
}

void check_arguments(const Tensor& logits, std::int64_t k, double dropout) {
  check_floating("route_top_k", "logits", logits);
  if (logits.rank() == 0) throw ArgumentError("route_top_k: expected at least 1 axis, got shape []");
  if (k < 1 || k > logits.size(-1))
    throw ArgumentError(fmt::format("route_top_k: k must be between 1 and the number of experts in shape {}, got {}",
                                    logits.shape().str(), k));
  check_probability("route_top_k", dropout);
}

}  // namespace

Routing route_top_k(const Tensor& logits, std::int64_t k, double dropout, const RandomStream& random) {
  check_arguments(logits, k, dropout);
  const Shape shape = logits.shape().with(-1, k);
  const Routing routing{Tensor::empty(shape, logits.dtype(), logits.device()),
                        Tensor::empty(shape, DType::int32, logits.device())};
  route_top_k_kernel(logits.device(), logits, dropout, random, routing.gate, routing.index);
  Backward back("route_top_k", {logits}, {routing.gate});
  back.input(0, [gate = back.keep(routing.gate), index = back.keep(routing.index), all = logits.shape()](
                    const Tensor& dgate) { return route_top_k_backward(gate.get(), index.get(), dgate, all); });
  return routing;
}

Tensor barred_last(const Tensor& values, const Tensor& keep) {
  return values + scale(add_scalar(keep, -1), -cpu::kBarred);
}

Routing route_top_k_composed(const Tensor& logits, std::int64_t k, double dropout, const RandomStream& random) {
  check_arguments(logits, k, dropout);
  const Tensor keep = keep_mask(logits.shape(), dropout, random, logits.dtype(), logits.device());
  const Tensor index = top_k(barred_last(logits.detach(), keep), k).indices;
  return {sigmoid(take_along(logits, index)) * take_along(keep, index), index};
}

namespace {

// Rows are taken kLanes at a time, one per vector lane, so that every lane does the same whatever its row holds; a list
// per row, or a heap, would be one mispredicted branch after another.
constexpr int kLanes = 16;

// What a thread needs for kLanes rows.
template <class T>
struct LaneRows {
  using Key = cpu::OrderKey<T>;

  LaneRows(std::int64_t experts_, std::int64_t k_)
      : experts(experts_), k(k_), keys(lanes(experts_)), best(lanes(k_)), ids(lanes(k_)), kept(lanes(experts_), 1) {}

  static std::size_t lanes(std::int64_t n) { return static_cast<std::size_t>(n) * kLanes; }

  std::int64_t experts, k;
  std::vector<Key> keys;            // [E, kLanes]
  std::vector<Key> best;            // [K, kLanes]: each lane's largest keys so far, descending; 0 for none
  std::vector<std::int32_t> ids;    // [K, kLanes]: their places
  std::vector<std::uint32_t> kept;  // [kLanes, E]: 0 where the expert is barred
};

template <class T>
void make_keys(const Rows<T>& logits, std::int64_t first, int count, LaneRows<T>& lanes) {
  for (int l = 0; l < count; ++l) {
    const T* const row = logits.row(first + l);
    const std::uint32_t* const kept = lanes.kept.data() + l * lanes.experts;
    for (std::int64_t e = 0; e < lanes.experts; ++e)
      lanes.keys[static_cast<std::size_t>(e * kLanes + l)] = cpu::expert_key(row[e], kept[e] != 0);
  }
}

// Adds key e of every lane to the lane's list: what it exceeds moves down by one place. An equal key that came earlier
// stays above.
template <class Key>
void insert_key(const Key* key, std::int32_t e, std::int64_t k, Key* best, std::int32_t* ids) {
  for (std::int64_t j = k - 1; j > 0; --j) {
    Key* const here = best + j * kLanes;
    std::int32_t* const id = ids + j * kLanes;
#pragma omp simd
    for (int l = 0; l < kLanes; ++l) {
      const Key above = here[l - kLanes], old = here[l];
      const std::int32_t above_id = id[l - kLanes], old_id = id[l];
      const bool lower = key[l] > above, enters = key[l] > old;
      here[l] = lower ? above : enters ? key[l] : old;
      id[l] = lower ? above_id : enters ? e : old_id;
    }
  }
#pragma omp simd
  for (int l = 0; l < kLanes; ++l) {
    const std::int32_t old_id = ids[l];
    ids[l] = key[l] > best[l] ? e : old_id;
    best[l] = std::max(best[l], key[l]);
  }
}

template <class T>
void select(LaneRows<T>& lanes) {
  std::fill(lanes.best.begin(), lanes.best.end(), typename LaneRows<T>::Key(0));
  for (std::int64_t e = 0; e < lanes.experts; ++e)
    insert_key(lanes.keys.data() + e * kLanes, static_cast<std::int32_t>(e), lanes.k, lanes.best.data(),
               lanes.ids.data());
}

template <class T>
void write_gates(const Rows<T>& logits, std::int64_t first, int count, const LaneRows<T>& lanes, const Rows<T>& gate,
                 const Rows<std::int32_t>& index) {
  using Value = accumulate_t<T>;
  for (std::int64_t j = 0; j < lanes.k; ++j) {
    const std::int32_t* const ids = lanes.ids.data() + j * kLanes;
    Value values[kLanes] = {};
    for (int l = 0; l < count; ++l) values[l] = static_cast<Value>(logits.row(first + l)[ids[l]]);
    for (Value& v : values) v = cpu::sigmoid(v);
    for (int l = 0; l < count; ++l) {
      const bool kept = lanes.kept[static_cast<std::size_t>(l * lanes.experts + ids[l])] != 0;
      gate.row(first + l)[j] = T(values[l] * Value(kept ? 1 : 0));  // NaN stays
      index.row(first + l)[j] = ids[l];
    }
  }
}

void route_top_k_cpu(const Tensor& logits, double dropout, const RandomStream& random, const Tensor& gate,
                     const Tensor& index) {
  const Tensor dense = rows_form(logits);
  visit_floating("route_top_k", logits.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(dense), gates = rows_of<T>(gate);
    const auto indices = rows_of<std::int32_t>(index);
    const std::int64_t groups = (in.rows + kLanes - 1) / kLanes;
    parallel_for(groups, grain_for(kLanes * in.cols * 4), [&](std::int64_t begin, std::int64_t end) {
      LaneRows<T> lanes(in.cols, gates.cols);
      for (std::int64_t first = begin * kLanes; first < std::min(end * kLanes, in.rows); first += kLanes) {
        const int count = static_cast<int>(std::min<std::int64_t>(kLanes, in.rows - first));
        if (dropout > 0)
          cpu::for_kept_run(static_cast<std::uint64_t>(first * in.cols), count * in.cols, dropout, random,
                            [&](std::int64_t at, std::int64_t n, const std::uint32_t* keep) {
                              std::copy(keep, keep + n, lanes.kept.data() + at);
                            });
        make_keys(in, first, count, lanes);
        select(lanes);
        write_gates(in, first, count, lanes, gates, indices);
      }
    });
  });
}

void route_top_k_backward_cpu(const Tensor& gate, const Tensor& index, const Tensor& dgate, const Tensor& dlogits) {
  const Tensor gate_rows = rows_form(gate), given_rows = rows_form(dgate);
  visit_floating("route_top_k", gate.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto gates = rows_of<T>(gate_rows), given = rows_of<T>(given_rows), out = rows_of<T>(dlogits);
    const auto chosen = rows_of<std::int32_t>(index);
    parallel_for(out.rows, grain_for(out.cols + 4 * gates.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        T* const to = out.row(r);
        std::fill(to, to + out.cols, T{});
        for (std::int64_t k = 0; k < gates.cols; ++k) {
          const Value y = static_cast<Value>(gates.row(r)[k]), d = static_cast<Value>(given.row(r)[k]);
          to[chosen.row(r)[k]] = T(d * y * (1 - y));
        }
      }
    });
  });
}

const bool on_cpu = route_top_k_kernel.add(DeviceKind::cpu, route_top_k_cpu) &&
                    route_top_k_backward_kernel.add(DeviceKind::cpu, route_top_k_backward_cpu);

// The reference sorts whole rows.
Sample route_sample(const std::string& name, const Shape& shape, std::int64_t k, double dropout = 0) {
  const RandomStream random{91, 6, 2};
  return {name,
          {separated_values(shape, 23)},
          [=](std::span<const Tensor> in) {
            const Routing routing = route_top_k(in[0], k, dropout, random);
            return std::vector{routing.gate, routing.index};
          },
          [=](std::span<const Tensor> in) {
            const std::vector<double> z = in[0].values();
            const auto experts = static_cast<std::size_t>(in[0].size(-1));
            std::vector<double> gates, indices;
            for (std::size_t start = 0; start < z.size(); start += experts) {
              const auto kept = [&](std::size_t e) {
                return static_cast<double>(random.uniform(start + e)) >= dropout;
              };
              std::vector<std::size_t> order(experts);
              std::iota(order.begin(), order.end(), std::size_t{0});
              std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
                return kept(a) != kept(b) ? kept(a) : kept(a) && z[start + a] > z[start + b];
              });
              for (std::size_t j = 0; j < static_cast<std::size_t>(k); ++j) {
                gates.push_back(kept(order[j]) ? 1 / (1 + std::exp(-z[start + order[j]])) : 0);
                indices.push_back(static_cast<double>(order[j]));
              }
            }
            const Shape chosen = in[0].shape().with(-1, k);
            return std::vector{Tensor::from_values(chosen, gates), Tensor::from_values(chosen, indices)};
          },
          [=](std::span<const Tensor> in) {
            const Routing routing = route_top_k_composed(in[0], k, dropout, random);
            return std::vector{routing.gate, routing.index};
          }};
}

const OpRegistration registration{{
    .name = "route_top_k",
    .source = __FILE__,
    .signature = "route_top_k(logits, k, dropout, random)",
    .summary =
        "the places of the k largest logits of each row and their sigmoids; barred experts rank last, with gate 0",
    .samples =
        [] {
          return std::vector<Sample>{
              route_sample("usual", {33, 16}, 4),
              route_sample("expert dropout", {19, 16}, 4, 0.3),
              route_sample("odd", {3, 5, 7}, 3, 0.2),
              route_sample("many experts", {18, 131}, 5, 0.1),
              route_sample("largest", {5, 9}, 1),
              route_sample("all", {4, 6}, 6),
              route_sample("more slots than lanes", {2, 40}, 37, 0.5),
              route_sample("most are barred", {17, 6}, 4, 0.9),
              route_sample("vector", {12}, 2),
              route_sample("size one", {1, 1}, 1),
              route_sample("zero rows", {0, 4}, 2),
          };
        },
    .large =
        [] {
          return route_sample("large", {8192, 128}, 8);
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& shape, DType dtype, std::int64_t k, double dropout) {
            return [=] { route_top_k(Tensor::zeros(shape, dtype), k, dropout); };
          };
          return std::vector<BadSample>{
              {"k 0", call({2, 3}, DType::float32, 0, 0),
               "route_top_k: k must be between 1 and the number of experts in shape [2, 3], got 0"},
              {"k above", call({2, 3}, DType::float32, 4, 0), "shape [2, 3], got 4"},
              {"rank 0", call({}, DType::float32, 1, 0), "route_top_k: expected at least 1 axis"},
              {"dropout of 1", call({2, 3}, DType::float32, 1, 1),
               "route_top_k: expected a probability p of 0 or more and below 1, got 1"},
              {"integers", call({3}, DType::int32, 1, 0),
               "route_top_k: expected logits of a floating dtype, got int32"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
