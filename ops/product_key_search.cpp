#include "ops/product_key_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/cpu/kth_largest.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&)> product_key_search_kernel{
    "product_key_search"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&)> product_key_search_backward_kernel{
    "product_key_search backward"};

namespace {

void check(const Tensor& a, const Tensor& b, std::int64_t k) {
  check_floating("product_key_search", "a", a);
  check_same_dtype("product_key_search", a, b);
  if (a.rank() == 0 || b.rank() == 0 || a.shape().without(-1) != b.shape().without(-1))
    throw ArgumentError(
        fmt::format("product_key_search: expected a [.., I] and b [.., J] with equal outer axes, got {} and {}",
                    a.shape().str(), b.shape().str()));
  const std::int64_t pairs = a.size(-1) * b.size(-1);
  if (pairs > std::numeric_limits<std::int32_t>::max())
    throw ArgumentError(fmt::format(
        "product_key_search: {} x {} pairs are more than the 2^31 - 1 that indices can name", a.size(-1), b.size(-1)));
  if (k < 1 || k > pairs)
    throw ArgumentError(fmt::format("product_key_search: k must be between 1 and the {} x {} pairs, got {}", a.size(-1),
                                    b.size(-1), k));
}

}  // namespace

ProductKeys product_key_search(const Tensor& a, const Tensor& b, std::int64_t k) {
  check(a, b, k);
  const Shape shape = a.shape().with(-1, k);
  const ProductKeys keys{Tensor::empty(shape, a.dtype(), a.device()), Tensor::empty(shape, DType::int32, a.device())};
  product_key_search_kernel(a.device(), a, b, keys.scores, keys.indices);
  Backward back("product_key_search", {a, b}, {keys.scores, keys.indices});
  back.once_differentiable([indices = back.keep(keys.indices), a_shape = a.shape(), b_shape = b.shape()](auto dys) {
    const Tensor& dy = dys[0];
    const std::vector<Tensor> dxs{Tensor::empty(a_shape, dy.dtype(), dy.device()),
                                  Tensor::empty(b_shape, dy.dtype(), dy.device())};
    product_key_search_backward_kernel(dy.device(), dy, indices.get(), dxs[0], dxs[1]);
    return dxs;
  });
  return keys;
}

namespace {

template <class Value>
struct Ranked {
  cpu::OrderKey<Value> key;  // of the score
  std::int32_t index;
};

// Sorts the k best to the front, equal ones by index, and drops the rest.
template <class Value>
void sort_best(std::vector<Ranked<Value>>& found, std::int64_t k) {
  std::sort(found.begin(), found.end(), [](const Ranked<Value>& x, const Ranked<Value>& y) {
    return x.key > y.key || (x.key == y.key && x.index < y.index);
  });
  found.resize(static_cast<std::size_t>(k));
}

// Scratch of one thread for rows of I and J scores.
template <class Value>
class Search {
 public:
  using Key = cpu::OrderKey<Value>;
  Search(std::int64_t i_count, std::int64_t j_count, std::int64_t k) : I(i_count), J(j_count), k_(k) {}

  template <class T>
  void row(const T* a, const T* b, T* scores, std::int32_t* indices) {
    best_of(a, I, best_a_);
    best_of(b, J, best_b_);
    // Sorted halves: sum (i, j) is no larger than the (i + 1)(j + 1) sums before it, so beyond k it cannot be chosen.
    pairs_.clear();
    keys_.clear();
    for (std::size_t i = 0; i < best_a_.size(); ++i) {
      const std::size_t reach = std::min(best_b_.size(), static_cast<std::size_t>(k_) / (i + 1));
      const std::int32_t first = best_a_[i].index;
      for (std::size_t j = 0; j < reach; ++j) {
        const std::int32_t second = best_b_[j].index;
        keys_.push_back(cpu::order_key(static_cast<Value>(a[first]) + static_cast<Value>(b[second])));
        pairs_.push_back(static_cast<std::int32_t>(first * J) + second);
      }
    }
    collect(keys_, k_, best_, [&](std::size_t place) { return pairs_[place]; });
    for (std::int64_t slot = 0; slot < k_; ++slot) {
      const std::int32_t pair = best_[static_cast<std::size_t>(slot)].index;
      indices[slot] = pair;
      scores[slot] = T(static_cast<Value>(a[pair / J]) + static_cast<Value>(b[pair % J]));
    }
  }

 private:
  template <class T>
  void best_of(const T* row, std::int64_t n, std::vector<Ranked<Value>>& best) {
    keys_.resize(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i)
      keys_[static_cast<std::size_t>(i)] = cpu::order_key(static_cast<Value>(row[i]));
    collect(keys_, std::min(k_, n), best, [](std::size_t place) { return static_cast<std::int32_t>(place); });
  }

  template <class IndexOf>
  static void collect(const std::vector<Key>& keys, std::int64_t k, std::vector<Ranked<Value>>& best,
                      IndexOf&& index_of) {
    const Key threshold = cpu::kth_largest(keys.data(), static_cast<std::int64_t>(keys.size()), k);
    best.resize(keys.size() + 1);  // a place for the one that is written and not kept
    std::size_t found = 0;
    for (std::size_t place = 0; place < keys.size(); ++place) {
      best[found] = {keys[place], index_of(place)};
      found += keys[place] >= threshold;
    }
    best.resize(found);
    sort_best(best, k);
  }

  const std::int64_t I, J, k_;
  std::vector<Key> keys_;
  std::vector<std::int32_t> pairs_;
  std::vector<Ranked<Value>> best_a_, best_b_, best_;
};

void product_key_search_cpu(const Tensor& a, const Tensor& b, const Tensor& scores, const Tensor& indices) {
  const Tensor left = rows_form(a), right = rows_form(b);
  visit_floating("product_key_search", a.dtype(), [&]<class T>(Type<T>) {
    const auto p = rows_of<T>(left), q = rows_of<T>(right), out = rows_of<T>(scores);
    const auto chosen = rows_of<std::int32_t>(indices);
    parallel_for(out.rows, grain_for(8 * (p.cols + q.cols)), [&](std::int64_t begin, std::int64_t end) {
      Search<accumulate_t<T>> search(p.cols, q.cols, out.cols);
      for (std::int64_t r = begin; r < end; ++r) search.row(p.row(r), q.row(r), out.row(r), chosen.row(r));
    });
  });
}

void product_key_search_backward_cpu(const Tensor& dscores, const Tensor& indices, const Tensor& da, const Tensor& db) {
  const Tensor given = rows_form(dscores);
  visit_floating("product_key_search", da.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto d = rows_of<T>(given), to_a = rows_of<T>(da), to_b = rows_of<T>(db);
    const auto chosen = rows_of<std::int32_t>(indices);
    const auto J = static_cast<std::int32_t>(to_b.cols);
    parallel_for(d.rows, grain_for(to_a.cols + to_b.cols), [&](std::int64_t begin, std::int64_t end) {
      std::vector<Value> sums(static_cast<std::size_t>(to_a.cols + to_b.cols));
      Value *const left = sums.data(), *const right = left + to_a.cols;
      for (std::int64_t r = begin; r < end; ++r) {
        std::fill(sums.begin(), sums.end(), Value(0));
        for (std::int64_t slot = 0; slot < d.cols; ++slot) {
          const std::int32_t pair = chosen.row(r)[slot];
          left[pair / J] += static_cast<Value>(d.row(r)[slot]);
          right[pair % J] += static_cast<Value>(d.row(r)[slot]);
        }
        std::transform(left, right, to_a.row(r), [](Value v) { return T(v); });
        std::transform(right, right + to_b.cols, to_b.row(r), [](Value v) { return T(v); });
      }
    });
  });
}

const bool on_cpu = product_key_search_kernel.add(DeviceKind::cpu, product_key_search_cpu) &&
                    product_key_search_backward_kernel.add(DeviceKind::cpu, product_key_search_backward_cpu);

// All pairs, sorted.
std::vector<Tensor> reference(std::span<const Tensor> in, std::int64_t k) {
  const auto a = in[0].values(), b = in[1].values();
  const auto I = static_cast<std::size_t>(in[0].size(-1)), J = static_cast<std::size_t>(in[1].size(-1));
  std::vector<double> scores, indices;
  for (std::size_t row = 0; row * I < a.size(); ++row) {
    const auto sum = [&](std::size_t pair) { return a[row * I + pair / J] + b[row * J + pair % J]; };
    std::vector<std::size_t> order(I * J);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) { return sum(x) > sum(y); });
    for (std::size_t slot = 0; slot < static_cast<std::size_t>(k); ++slot) {
      scores.push_back(sum(order[slot]));
      indices.push_back(static_cast<double>(order[slot]));
    }
  }
  const Shape shape = in[0].shape().with(-1, k);
  return {Tensor::from_values(shape, scores), Tensor::from_values(shape, indices)};
}

Sample search_sample(const std::string& name, const Shape& outer, std::int64_t i, std::int64_t j, std::int64_t k) {
  Shape a = outer, b = outer;
  a.push_back(i);
  b.push_back(j);
  return {name,
          {random_tensor(a, 91), random_tensor(b, 92)},
          [k](std::span<const Tensor> in) {
            const ProductKeys keys = product_key_search(in[0], in[1], k);
            return std::vector{keys.scores, keys.indices};
          },
          [k](std::span<const Tensor> in) { return reference(in, k); }};
}

const OpRegistration registration{{
    .name = "product_key_search",
    .source = __FILE__,
    .signature = "product_key_search(a, b, k)",
    .summary = "the k largest sums a[..., i] + b[..., j] of each row, descending, and their places i J + j",
    .samples =
        [] {
          return std::vector<Sample>{
              search_sample("usual", {6}, 16, 16, 4),           search_sample("odd", {3, 5}, 7, 9, 5),
              search_sample("largest", {5}, 9, 4, 1),           search_sample("all", {2}, 3, 4, 12),
              search_sample("more than a side", {3}, 4, 5, 11), search_sample("wide", {2}, 150, 301, 32),
              search_sample("one column", {3}, 8, 1, 5),        search_sample("no outer axis", {}, 6, 5, 3),
              search_sample("size one", {1}, 1, 1, 1),          search_sample("zero rows", {0}, 4, 3, 2),
          };
        },
    .large =
        [] {
          return search_sample("large", {2048, 4}, 128, 128, 32);
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& a, const Shape& b, DType b_dtype, std::int64_t k) {
            return [=] { product_key_search(Tensor::zeros(a, DType::float32), Tensor::zeros(b, b_dtype), k); };
          };
          return std::vector<BadSample>{
              {"k 0", call({2, 3}, {2, 4}, DType::float32, 0),
               "product_key_search: k must be between 1 and the 3 x 4 pairs, got 0"},
              {"k above", call({2, 3}, {2, 4}, DType::float32, 13), "3 x 4 pairs, got 13"},
              {"outer axes", call({2, 3}, {3, 3}, DType::float32, 2),
               "product_key_search: expected a [.., I] and b [.., J] with equal outer axes, got [2, 3] and [3, 3]"},
              {"dtypes", call({2, 3}, {2, 3}, DType::float64, 2),
               "product_key_search: expected one dtype on both sides"},
              {"too many pairs", call({0, 50000}, {0, 50000}, DType::float32, 2),
               "product_key_search: 50000 x 50000 pairs are more than the 2^31 - 1"},
              {"integers",
               [] { product_key_search(Tensor::zeros({2}, DType::int32), Tensor::zeros({2}, DType::int32), 1); },
               "product_key_search: expected a of a floating dtype, got int32"},
          };
        },
}};

}  // namespace
}  // namespace weir
