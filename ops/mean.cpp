#include "ops/mean.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "ops/scale.h"
#include "ops/sum.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

Tensor mean(const Tensor& x, std::span<const int> axes, bool keep_axes) {
  check_floating("mean", "x", x);
  unsigned chosen = 0;
  for (int axis : axes) chosen |= 1u << normalise_axis("mean", axis, x.rank());
  std::int64_t count = 1;
  for (int i = 0; i < x.rank(); ++i)
    if (chosen >> i & 1u) count *= x.size(i);
  return scale(sum(x, axes, keep_axes), 1 / static_cast<double>(count));
}

Tensor mean(const Tensor& x) {
  std::vector<int> axes(static_cast<std::size_t>(x.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  return mean(x, axes);
}

namespace {

// `reduced` are the averaged axes from the front, in order.
Tensor mean_slowly(const Tensor& x, const std::vector<int>& reduced, bool keep_axes) {
  Shape with_ones = x.shape(), shape;
  for (int axis : reduced) with_ones[axis] = 1;
  for (int i = 0; i < x.rank(); ++i)
    if (keep_axes || std::find(reduced.begin(), reduced.end(), i) == reduced.end()) shape.push_back(with_ones[i]);
  const std::vector<double> from = x.values();
  std::vector<double> sums(static_cast<std::size_t>(with_ones.product())), counts(sums.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::int64_t rest = static_cast<std::int64_t>(i), place = 0, step = 1;
    for (int a = x.rank() - 1; a >= 0; rest /= x.size(a--)) {
      if (with_ones[a] != 1) place += rest % x.size(a) * step;
      step *= with_ones[a];
    }
    sums[static_cast<std::size_t>(place)] += from[i];
    counts[static_cast<std::size_t>(place)] += 1;
  }
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] /= counts[i];
  return Tensor::from_values(shape, sums);
}

Sample mean_sample(const std::string& name, const Shape& shape, std::vector<int> axes, bool keep_axes,
                   const std::vector<int>& reduced) {
  return {name,
          {random_tensor(shape, 31)},
          [=](std::span<const Tensor> in) { return std::vector{mean(in[0], axes, keep_axes)}; },
          [=](std::span<const Tensor> in) { return std::vector{mean_slowly(in[0], reduced, keep_axes)}; }};
}

const OpRegistration registration{{
    .name = "mean",
    .source = __FILE__,
    .signature = "mean(x, axes, keep_axes = false)",
    .summary = "mean over the named axes; the mean of nothing is NaN",
    .samples =
        [] {
          std::vector<Sample> samples = {
              mean_sample("rows", {300, 5}, {0}, false, {0}),
              mean_sample("columns", {5, 70}, {-1}, true, {1}),
              mean_sample("outer two", {3, 4, 5}, {0, -1}, true, {0, 2}),
              mean_sample("named twice", {3, 4}, {1, -1}, false, {1}),
              mean_sample("size one", {1, 1}, {0}, false, {0}),
              mean_sample("zero rows", {0, 4}, {0}, false, {0}),
              mean_sample("zero result", {0, 4}, {1}, false, {1}),
          };
          samples.push_back({"all",
                             {random_tensor({7, 9}, 32)},
                             [](std::span<const Tensor> in) { return std::vector{mean(in[0])}; },
                             [](std::span<const Tensor> in) {
                               return std::vector{mean_slowly(in[0], {0, 1}, false)};
                             }});
          return samples;
        },
    .large = [] { return mean_sample("large", large_shape(), {1}, false, {1}); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"axis", [] { mean(Tensor::zeros({2}, DType::float32), std::vector<int>{1}); },
                                         "mean: axis 1 is out of range for a tensor of 1 axes"},
                                        {"integers", [] { mean(Tensor::zeros({2}, DType::int32)); },
                                         "mean: expected x of a floating dtype, got int32"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
