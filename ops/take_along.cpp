#include "ops/take_along.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> take_along_kernel{
    "take_along", [](const Tensor&, const Tensor& index, const Tensor& y) {
      return KernelCost{.bytes = bytes_of(index, y, y)};  // as much is read as is written
    }};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> take_along_backward_kernel{"take_along backward"};

namespace {

// Linear in dy, and its gradient is take_along again.
Tensor take_along_backward(const Tensor& index, const Tensor& dy, const Shape& shape) {
  Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
  take_along_backward_kernel(dy.device(), index, dy, dx);
  Backward back("take_along backward", {dy}, {dx});
  back.input(0, [index = back.keep(index)](const Tensor& ddx) { return take_along(ddx, index.get()); });
  return dx;
}

}  // namespace

Tensor take_along(const Tensor& x, const Tensor& index) {
  check_floating("take_along", "x", x);
  if (index.rank() == 0 || x.rank() == 0 || index.shape().with(-1, x.size(-1)) != x.shape())
    throw ArgumentError(
        fmt::format("take_along: expected x [.., E] and index [.., K] with equal outer axes, got {} and {}",
                    x.shape().str(), index.shape().str()));
  Tensor y = Tensor::empty(index.shape(), x.dtype(), x.device());
  take_along_kernel(x.device(), x, index, y);
  Backward back("take_along", {x}, {y});
  back.input(0, [index = back.keep(index), shape = x.shape()](const Tensor& dy) {
    return take_along_backward(index.get(), dy, shape);
  });
  return y;
}

namespace {

template <class Index>
void check_index(Index index, std::int64_t extent, std::int64_t row, std::int64_t column) {
  if (index < 0 || index >= extent)
    throw ArgumentError(fmt::format("take_along: index {} at row {}, column {} is out of range; x has {} columns",
                                    index, row, column, extent));
}

void take_along_cpu(const Tensor& x, const Tensor& index, const Tensor& y) {
  const Tensor from = rows_form(x), chosen = rows_form(index);
  visit_floating("take_along", x.dtype(), [&]<class T>(Type<T>) {
    visit_index("take_along", index.dtype(), [&]<class Index>(Type<Index>) {
      const auto in = rows_of<T>(from), out = rows_of<T>(y);
      const auto which = rows_of<Index>(chosen);
      parallel_for(out.rows, grain_for(out.cols), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r)
          for (std::int64_t k = 0; k < out.cols; ++k) {
            const Index i = which.row(r)[k];
            check_index(i, in.cols, r, k);
            out.row(r)[k] = in.row(r)[i];
          }
      });
    });
  });
}

void take_along_backward_cpu(const Tensor& index, const Tensor& dy, const Tensor& dx) {
  const Tensor from = rows_form(dy), chosen = rows_form(index);
  visit_floating("take_along", dy.dtype(), [&]<class T>(Type<T>) {
    visit_index("take_along", index.dtype(), [&]<class Index>(Type<Index>) {
      using Sum = accumulate_t<T>;
      const auto in = rows_of<T>(from), out = rows_of<T>(dx);
      const auto which = rows_of<Index>(chosen);
      parallel_for(out.rows, grain_for(in.cols + out.cols), [&](std::int64_t begin, std::int64_t end) {
        std::vector<Sum> sums(static_cast<std::size_t>(out.cols));
        for (std::int64_t r = begin; r < end; ++r) {
          std::fill(sums.begin(), sums.end(), Sum(0));
          for (std::int64_t k = 0; k < in.cols; ++k)
            sums[static_cast<std::size_t>(which.row(r)[k])] += static_cast<Sum>(in.row(r)[k]);
          T* const to = out.row(r);
          for (std::int64_t c = 0; c < out.cols; ++c) to[c] = T(sums[static_cast<std::size_t>(c)]);
        }
      });
    });
  });
}

const bool on_cpu = take_along_kernel.add(DeviceKind::cpu, take_along_cpu) &&
                    take_along_backward_kernel.add(DeviceKind::cpu, take_along_backward_cpu);

Sample take_sample(const std::string& name, const Shape& shape, std::int64_t taken, DType index_dtype = DType::int32) {
  const Tensor index = random_indices(shape.with(-1, taken), 33, std::max<std::int64_t>(1, shape[-1]));
  return {name,
          {random_tensor(shape, 34), converted(index, index_dtype)},
          [](std::span<const Tensor> in) { return std::vector{take_along(in[0], in[1])}; },
          [](std::span<const Tensor> in) {
            const std::vector<double> x = in[0].values(), which = in[1].values();
            std::vector<double> y(which.size());
            const auto width = static_cast<std::size_t>(in[0].size(-1)),
                       count = static_cast<std::size_t>(in[1].size(-1));
            for (std::size_t i = 0; i < y.size(); ++i) y[i] = x[i / count * width + static_cast<std::size_t>(which[i])];
            return std::vector{Tensor::from_values(in[1].shape(), y)};
          }};
}

const OpRegistration registration{{
    .name = "take_along",
    .source = __FILE__,
    .signature = "take_along(x, index)",
    .summary = "y[.., k] = x[.., index[.., k]]",
    .samples =
        [] {
          return std::vector<Sample>{
              take_sample("usual", {4, 16}, 3),
              take_sample("odd, repeated", {3, 5, 7}, 9),
              take_sample("int64", {5, 6}, 2, DType::int64),
              take_sample("one axis", {9}, 4),
              take_sample("size one", {1, 1}, 1),
              take_sample("zero rows", {0, 4}, 2),
              take_sample("zero taken", {3, 4}, 0),
              take_sample("many rows", {2001, 33}, 2),
          };
        },
    .large = [] { return take_sample("large", large_shape(), 64); },
    .bad_samples =
        [] {
          const auto taken = [](const Shape& x, const Shape& index, double value, DType dtype) {
            return [=] { take_along(Tensor::zeros(x, DType::float32), Tensor::full(index, value, dtype)); };
          };
          const std::string shapes = "take_along: expected x [.., E] and index [.., K] with equal outer axes, got ";
          return std::vector<BadSample>{
              {"outer axes", taken({2, 3}, {3, 1}, 0, DType::int32), shapes + "[2, 3] and [3, 1]"},
              {"ranks", taken({2, 3}, {2}, 0, DType::int32), shapes + "[2, 3] and [2]"},
              {"rank 0", taken({2, 3}, {}, 0, DType::int32), shapes + "[2, 3] and []"},
              {"too large", taken({2, 3}, {2, 1}, 3, DType::int32),
               "take_along: index 3 at row 0, column 0 is out of range; x has 3 columns"},
              {"negative", taken({2, 3}, {2, 1}, -1, DType::int64),
               "take_along: index -1 at row 0, column 0 is out of range; x has 3 columns"},
              {"index dtype", taken({2, 3}, {2, 1}, 0, DType::float32),
               "take_along: expected dtype int32 or int64, got float32"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
