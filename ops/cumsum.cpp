#include "ops/cumsum.h"

#include <algorithm>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, int, bool, const Tensor&)> cumsum_kernel{"cumsum"};

Tensor cumsum(const Tensor& x, int axis, bool reverse) {
  check_floating("cumsum", "x", x);
  axis = normalise_axis("cumsum", axis, x.rank());
  const Tensor y = Tensor::empty_like(x);
  cumsum_kernel(x.device(), x, axis, reverse, y);
  Backward back("cumsum", {x}, {y});
  back.input(0, [axis, reverse](const Tensor& dy) { return cumsum(dy, axis, !reverse); });
  return y;
}

namespace {

template <class T>
void along_rows(const Rows<T>& x, bool reverse, const Rows<T>& y) {
  using Sum = accumulate_t<T>;
  const std::int64_t first = reverse ? x.cols - 1 : 0, step = reverse ? -1 : 1;
  parallel_for(x.rows, grain_for(4 * x.cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* const from = x.row(r);
      T* const to = y.row(r);
      Sum sum = 0;
      for (std::int64_t i = 0, c = first; i < x.cols; ++i, c += step) to[c] = T(sum += static_cast<Sum>(from[c]));
    }
  });
}

// Rows are [outer, E, between]; those of one (outer, between) are added up, a piece of their columns at a time.
template <class T>
void down_rows(const Rows<T>& x, std::int64_t E, std::int64_t between, bool reverse, const Rows<T>& y) {
  using Sum = accumulate_t<T>;
  constexpr std::int64_t kPiece = 256;
  const std::int64_t pieces = (x.cols + kPiece - 1) / kPiece, items = x.rows / E * pieces;
  parallel_for(items, grain_for(2 * E * std::min(kPiece, x.cols)), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t col = item % pieces * kPiece, count = std::min(kPiece, x.cols - col), which = item / pieces;
      const std::int64_t top = which / between * E * between + which % between;
      Sum sums[kPiece] = {};
      for (std::int64_t i = 0; i < E; ++i) {
        const std::int64_t row = top + (reverse ? E - 1 - i : i) * between;
        const T* const from = x.row(row) + col;
        T* const to = y.row(row) + col;
        for (std::int64_t c = 0; c < count; ++c) to[c] = T(sums[c] += static_cast<Sum>(from[c]));
      }
    }
  });
}

void cumsum_cpu(const Tensor& x, int axis, bool reverse, const Tensor& y) {
  if (x.numel() == 0) return;
  const Tensor from = rows_form(x);
  std::int64_t between = 1;
  for (int i = axis + 1; i < x.rank() - 1; ++i) between *= x.size(i);
  visit_floating("cumsum", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(from), out = rows_of<T>(y);
    if (axis == x.rank() - 1)
      along_rows(in, reverse, out);
    else
      down_rows(in, x.size(axis), between, reverse, out);
  });
}

const bool on_cpu = cumsum_kernel.add(DeviceKind::cpu, cumsum_cpu);

// Every sum from the definition, in long double.
Tensor reference(const Tensor& x, int axis, bool reverse) {
  const int a = (axis + x.rank()) % x.rank();
  std::int64_t inner = 1;
  for (int i = a + 1; i < x.rank(); ++i) inner *= x.size(i);
  const std::vector<double> from = x.values();
  std::vector<double> sums(from.size());
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const std::int64_t place = i / inner % x.size(a);
    const std::int64_t begin = reverse ? 0 : -place, end = reverse ? x.size(a) - place : 1;
    long double sum = 0;
    for (std::int64_t e = begin; e < end; ++e) sum += from[static_cast<std::size_t>(i + e * inner)];
    sums[static_cast<std::size_t>(i)] = static_cast<double>(sum);
  }
  return Tensor::from_values(x.shape(), sums);
}

Sample cumsum_sample(const std::string& name, const Shape& shape, int axis, bool reverse) {
  return {name,
          {random_tensor(shape, 37)},
          [=](std::span<const Tensor> in) { return std::vector{cumsum(in[0], axis, reverse)}; },
          [=](std::span<const Tensor> in) { return std::vector{reference(in[0], axis, reverse)}; }};
}

const OpRegistration registration{{
    .name = "cumsum",
    .source = __FILE__,
    .signature = "cumsum(x, axis, reverse = false)",
    .summary = "along an axis, the sum of each element and all before it, or all behind it",
    .samples =
        [] {
          return std::vector<Sample>{
              cumsum_sample("rows", {4, 16}, -1, false),
              cumsum_sample("reverse", {4, 16}, -1, true),
              cumsum_sample("columns", {70, 5}, 0, false),
              cumsum_sample("middle", {3, 5, 7}, 1, true),
              cumsum_sample("wide", {3, 5, 301}, -2, false),
              cumsum_sample("second of four", {2, 5, 3, 9}, 1, true),
              cumsum_sample("odd", {3, 5, 7}, 2, false),
              cumsum_sample("odd reverse", {3, 5, 7}, 2, true),
              cumsum_sample("several tiles", {3, 301}, 1, true),
              cumsum_sample("vector", {11}, 0, false),
              cumsum_sample("size one", {1, 1}, 0, false),
              cumsum_sample("zero rows", {0, 4}, 1, false),
              cumsum_sample("zero columns", {3, 0}, 1, false),
              cumsum_sample("long row", {2, 4133}, 1, false),
              cumsum_sample("long row reverse", {2, 2085}, 1, true),
          };
        },
    .large = [] { return cumsum_sample("large", large_shape(), -1, false); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"axis", [] { cumsum(Tensor::zeros({2}, DType::float32), 1); },
                                         "cumsum: axis 1 is out of range for a tensor of 1 axes"},
                                        {"integers", [] { cumsum(Tensor::zeros({2}, DType::int32), 0); },
                                         "cumsum: expected x of a floating dtype, got int32"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
