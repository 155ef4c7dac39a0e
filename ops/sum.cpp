#include "ops/sum.h"

#include <algorithm>
#include <numeric>

#include "autograd/backward.h"
#include "ops/broadcast_to.h"
#include "ops/cpu/reduce.h"
#include "ops/reshape.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> sum_kernel{"sum"};

namespace {

struct Axes {
  std::vector<int> kept, reduced;
  Shape kept_shape, with_ones;
};

Axes split_axes(const Tensor& x, std::span<const int> axes) {
  Axes result;
  unsigned chosen = 0;
  for (int axis : axes) chosen |= 1u << normalise_axis("sum", axis, x.rank());
  for (int i = 0; i < x.rank(); ++i) {
    const bool reduced = chosen >> i & 1u;
    (reduced ? result.reduced : result.kept).push_back(i);
    if (!reduced) result.kept_shape.push_back(x.size(i));
    result.with_ones.push_back(reduced ? 1 : x.size(i));
  }
  return result;
}

}  // namespace

Tensor sum(const Tensor& x, std::span<const int> axes, bool keep_axes) {
  const Axes split = split_axes(x, axes);
  std::vector<int> order = split.kept;
  order.insert(order.end(), split.reduced.begin(), split.reduced.end());
  const Tensor arranged = permute_view(x.detach(), order);  // [kept..., reduced...]
  Tensor flat = Tensor::empty({split.kept_shape.product()}, x.dtype(), x.device());
  std::int64_t reduced = 1;
  for (int axis : split.reduced) reduced *= x.size(axis);
  sum_kernel(x.device(), reshaped(arranged, {flat.size(0), reduced}), flat);
  const Tensor y = reshaped(flat, keep_axes ? split.with_ones : split.kept_shape);
  Backward back("sum", {x}, {y});
  back.input(0, [shape = x.shape(), ones = split.with_ones](const Tensor& dy) {
    return broadcast_to(reshape(dy, ones), shape);
  });
  return y;
}

Tensor sum(const Tensor& x) {
  std::vector<int> axes(static_cast<std::size_t>(x.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  return sum(x, axes);
}

Tensor sum_to_shape(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  std::vector<int> axes;
  const int added = x.rank() - shape.rank();
  for (int i = 0; i < x.rank(); ++i)
    if (i < added || (shape[i - added] == 1 && x.size(i) != 1)) axes.push_back(i);
  return reshape(sum(x, axes), shape);
}

namespace {

// Where the kept axis is the dense one, whole rows are added; otherwise each sum runs along a row.
void sum_cpu(const Tensor& x, const Tensor& y) {
  const std::int64_t kept = x.size(0), reduced = x.size(1);
  if (kept == 0) return;
  const bool by_rows = kept > 1 && reduced > 0 && x.strides()[0] == 1;
  const Tensor matrix = by_rows ? transpose_view(x, 0, 1) : x.strides()[1] == 1 || reduced <= 1 ? x : clone(x);
  visit_floating("sum", x.dtype(), [&]<class T>(Type<T>) {
    using Sum = accumulate_t<T>;
    const T* const in = matrix.data<T>();
    T* const out = y.data<T>();
    const std::int64_t stride = matrix.strides()[0];
    if (by_rows) {
      const auto sums = cpu::sum_of_rows<Sum>(reduced, kept, [&](std::int64_t r, Sum* into) {
        for (std::int64_t c = 0; c < kept; ++c) into[c] += static_cast<Sum>(in[r * stride + c]);
      });
      for (std::int64_t c = 0; c < kept; ++c) out[c] = T(sums[static_cast<std::size_t>(c)]);
    } else {
      parallel_for(kept, grain_for(reduced), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r)
          out[r] = T(cpu::sum_over<Sum>(reduced, [&](std::int64_t j) { return static_cast<Sum>(in[r * stride + j]); }));
      });
    }
  });
}

const bool on_cpu = sum_kernel.add(DeviceKind::cpu, sum_cpu);

Sample sum_sample(const std::string& name, const Shape& shape, std::vector<int> axes, bool keep) {
  return {name,
          {random_tensor(shape, 11)},
          [axes, keep](std::span<const Tensor> in) { return std::vector{sum(in[0], axes, keep)}; },
          [axes, keep](std::span<const Tensor> in) {
            const Axes split = split_axes(in[0], axes);
            const Shape out_shape = keep ? split.with_ones : split.kept_shape;
            const std::vector<double> x = in[0].values();
            std::vector<double> y(static_cast<std::size_t>(out_shape.product()));
            for (std::size_t i = 0; i < x.size(); ++i) {
              std::int64_t rest = static_cast<std::int64_t>(i), place = 0, step = 1;
              for (int a = in[0].rank() - 1; a >= 0; --a) {
                if (split.with_ones[a] != 1) place += rest % in[0].size(a) * step, step *= in[0].size(a);
                rest /= in[0].size(a);
              }
              y[static_cast<std::size_t>(place)] += x[i];
            }
            return std::vector{Tensor::from_values(out_shape, y)};
          }};
}

const OpRegistration registration{{
    .name = "sum",
    .source = __FILE__,
    .signature = "sum(x, axes, keep_axes = false)",
    .summary = "sum over the named axes; an empty sum is 0",
    .samples =
        [] {
          return std::vector<Sample>{
              sum_sample("rows", {600, 5}, {0}, false),      sum_sample("columns", {5, 70}, {1}, true),
              sum_sample("middle", {3, 4, 5}, {1}, false),   sum_sample("outer two", {3, 4, 5}, {0, -1}, true),
              sum_sample("all", {7, 9}, {0, 1}, false),      sum_sample("none", {2, 3}, {}, false),
              sum_sample("size one", {1, 1}, {0}, false),    sum_sample("zero rows", {0, 4}, {0}, false),
              sum_sample("zero result", {0, 4}, {1}, false), sum_sample("rank 0", {}, {}, false),
              sum_sample("long row", {2, 4133}, {1}, false),
          };
        },
    .large = [] { return sum_sample("large", large_shape(), {1}, false); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"axis", [] { sum(Tensor::zeros({2}, DType::float32), std::vector<int>{1}); },
                                         "sum: axis 1 is out of range for a tensor of 1 axes"},
                                        {"integers", [] { sum(Tensor::zeros({2}, DType::int32)); },
                                         "sum: expected dtype float64, float32 or bf16"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
