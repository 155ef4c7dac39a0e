#include "ops/top_k.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "autograd/backward.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> top_k_kernel{"top_k"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> top_k_scatter_kernel{"top_k scatter"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> top_k_gather_kernel{"top_k gather"};

namespace {

// Both are linear and each other's gradient. `indices` has distinct entries in every row.
Tensor gather_chosen(const Tensor& dx, const Tensor& indices);

Tensor scatter_chosen(const Tensor& dvalues, const Tensor& indices, std::int64_t extent) {
  const Tensor dx = Tensor::empty(dvalues.shape().with(-1, extent), dvalues.dtype(), dvalues.device());
  top_k_scatter_kernel(dvalues.device(), dvalues, indices, dx);
  Backward back("top_k scatter", {dvalues}, {dx});
  back.input(0, [indices = back.keep(indices)](const Tensor& ddx) { return gather_chosen(ddx, indices.get()); });
  return dx;
}

Tensor gather_chosen(const Tensor& dx, const Tensor& indices) {
  const Tensor dvalues = Tensor::empty(indices.shape(), dx.dtype(), dx.device());
  top_k_gather_kernel(dx.device(), dx, indices, dvalues);
  Backward back("top_k gather", {dx}, {dvalues});
  back.input(0, [indices = back.keep(indices), extent = dx.size(-1)](const Tensor& d) {
    return scatter_chosen(d, indices.get(), extent);
  });
  return dvalues;
}

}  // namespace

TopK top_k(const Tensor& x, std::int64_t k) {
  if (x.rank() == 0) throw ArgumentError("top_k: expected at least 1 axis, got shape []");
  if (k < 1 || k > x.size(-1))
    throw ArgumentError(
        fmt::format("top_k: k must be between 1 and the last extent of shape {}, got {}", x.shape().str(), k));
  const Shape shape = x.shape().with(-1, k);
  const TopK top{Tensor::empty(shape, x.dtype(), x.device()), Tensor::empty(shape, DType::int32, x.device())};
  top_k_kernel(x.device(), x, top.values, top.indices);
  Backward back("top_k", {x}, {top.values, top.indices});
  back.input(0, [indices = back.keep(top.indices), extent = x.size(-1)](const Tensor& dvalues) {
    return scatter_chosen(dvalues, indices.get(), extent);
  });
  return top;
}

namespace {

constexpr std::int64_t kInsertBelow = 32;  // the largest k for which keeping a sorted list beats partitioning the row

template <class Value>
struct Candidate {
  Value value;
  std::int32_t index;
};

template <class Value>
bool larger(Value a, Value b) {
  return a > b || (b != b && a == a);
}

// Keeps best[0..k) sorted while it walks the row; an equal element further right never overtakes.
template <class T, class Value>
void insert_best(const T* row, std::int64_t extent, std::int64_t k, Candidate<Value>* best) {
  std::int64_t filled = 0;
  for (std::int64_t i = 0; i < extent; ++i) {
    const auto value = static_cast<Value>(row[i]);
    if (filled == k && !larger(value, best[k - 1].value)) continue;
    std::int64_t place = filled < k ? filled++ : k - 1;
    for (; place > 0 && larger(value, best[place - 1].value); --place) best[place] = best[place - 1];
    best[place] = {value, static_cast<std::int32_t>(i)};
  }
}

// The same by partition; `all` has room for the whole row.
template <class T, class Value>
void partition_best(const T* row, std::int64_t extent, std::int64_t k, Candidate<Value>* all) {
  for (std::int64_t i = 0; i < extent; ++i) all[i] = {static_cast<Value>(row[i]), static_cast<std::int32_t>(i)};
  const auto before = [](const Candidate<Value>& a, const Candidate<Value>& b) {
    return larger(a.value, b.value) || (!larger(b.value, a.value) && a.index < b.index);
  };
  if (k < extent) std::nth_element(all, all + k - 1, all + extent, before);
  std::sort(all, all + k, before);
}

void top_k_cpu(const Tensor& x, const Tensor& values, const Tensor& indices) {
  const Tensor input = rows_form(x);
  visit_floating("top_k", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(input), out = rows_of<T>(values);
    const auto places = rows_of<std::int32_t>(indices);
    const std::int64_t k = out.cols;
    parallel_for(in.rows, grain_for(4 * in.cols), [&](std::int64_t begin, std::int64_t end) {
      std::vector<Candidate<Value>> best(static_cast<std::size_t>(k <= kInsertBelow ? k : in.cols));
      for (std::int64_t r = begin; r < end; ++r) {
        if (k <= kInsertBelow)
          insert_best(in.row(r), in.cols, k, best.data());
        else
          partition_best(in.row(r), in.cols, k, best.data());
        for (std::int64_t j = 0; j < k; ++j) {
          const Candidate<Value>& chosen = best[static_cast<std::size_t>(j)];
          out.row(r)[j] = in.row(r)[chosen.index];
          places.row(r)[j] = chosen.index;
        }
      }
    });
  });
}

void top_k_scatter_cpu(const Tensor& dvalues, const Tensor& indices, const Tensor& dx) {
  const Tensor from = rows_form(dvalues);
  visit_floating("top_k", dx.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(from), out = rows_of<T>(dx);
    const auto places = rows_of<std::int32_t>(indices);
    parallel_for(out.rows, grain_for(out.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        std::fill_n(out.row(r), out.cols, T{});
        for (std::int64_t j = 0; j < in.cols; ++j) out.row(r)[places.row(r)[j]] = in.row(r)[j];
      }
    });
  });
}

void top_k_gather_cpu(const Tensor& dx, const Tensor& indices, const Tensor& dvalues) {
  const Tensor from = rows_form(dx);
  visit_floating("top_k", dx.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(from), out = rows_of<T>(dvalues);
    const auto places = rows_of<std::int32_t>(indices);
    parallel_for(out.rows, grain_for(out.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        for (std::int64_t j = 0; j < out.cols; ++j) out.row(r)[j] = in.row(r)[places.row(r)[j]];
    });
  });
}

const bool on_cpu = top_k_kernel.add(DeviceKind::cpu, top_k_cpu) &&
                    top_k_scatter_kernel.add(DeviceKind::cpu, top_k_scatter_cpu) &&
                    top_k_gather_kernel.add(DeviceKind::cpu, top_k_gather_cpu);

Sample top_k_sample(const std::string& name, const Shape& shape, std::int64_t k) {
  return {name,
          {separated_values(shape, 17)},
          [k](std::span<const Tensor> in) {
            TopK top = top_k(in[0], k);
            return std::vector{top.values, top.indices};
          },
          [k](std::span<const Tensor> in) {
            const std::vector<double> x = in[0].values();
            const auto extent = static_cast<std::size_t>(in[0].size(-1));
            std::vector<double> values, indices;
            for (std::size_t start = 0; start < x.size(); start += extent) {
              std::vector<std::size_t> order(extent);
              std::iota(order.begin(), order.end(), 0);
              std::stable_sort(order.begin(), order.end(),
                               [&](std::size_t a, std::size_t b) { return x[start + a] > x[start + b]; });
              for (std::size_t j = 0; j < static_cast<std::size_t>(k); ++j) {
                values.push_back(x[start + order[j]]);
                indices.push_back(static_cast<double>(order[j]));
              }
            }
            const Shape chosen = in[0].shape().with(-1, k);
            return std::vector{Tensor::from_values(chosen, values), Tensor::from_values(chosen, indices)};
          }};
}

const OpRegistration registration{{
    .name = "top_k",
    .source = __FILE__,
    .signature = "top_k(x, k)",
    .summary = "the k largest elements of each row, descending, and their places; ties go to the lower index",
    .samples =
        [] {
          return std::vector<Sample>{
              top_k_sample("experts", {33, 16}, 4), top_k_sample("odd", {3, 5, 7}, 3),
              top_k_sample("largest", {5, 9}, 1),   top_k_sample("all", {4, 6}, 6),
              top_k_sample("many", {3, 101}, 50),   top_k_sample("all of many", {2, 40}, 40),
              top_k_sample("vector", {12}, 2),      top_k_sample("size one", {1, 1}, 1),
              top_k_sample("zero rows", {0, 4}, 2),
          };
        },
    .large =
        [] {
          return top_k_sample("large", {8192, 128}, 8);
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& shape, DType dtype, std::int64_t k) {
            return [=] { top_k(Tensor::zeros(shape, dtype), k); };
          };
          return std::vector<BadSample>{
              {"k 0", call({2, 3}, DType::float32, 0),
               "top_k: k must be between 1 and the last extent of shape [2, 3]"},
              {"k above", call({2, 3}, DType::float32, 4), "shape [2, 3], got 4"},
              {"rank 0", call({}, DType::float32, 1), "top_k: expected at least 1 axis"},
              {"integers", call({3}, DType::int32, 1), "top_k: expected dtype float64, float32 or bf16, got int32"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
