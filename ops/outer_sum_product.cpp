// On the CPU: blocks of rows times blocks of pairs, all j of some i. The activations of a block are made in cache and
// multiplied at once; backward makes them again. Blocks depend on the shapes alone, so do the bits.
#include "ops/outer_sum_product.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "autograd/backward.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/cpu/gemm.h"
#include "ops/linear.h"
#include "ops/outer_sum.h"
#include "ops/permute.h"
#include "ops/relu.h"
#include "ops/support/check.h"
#include "ops/support/parameters.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, Float32Products, const Tensor&)>
    outer_sum_product_kernel{"outer_sum_product",
                             [](const Tensor& a, const Tensor& b, const Tensor& values, auto... rest) {
                               return product_cost({a.numel(), b.size(-1), values.size(1)}, a, b, values, rest...);
                             }};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, Float32Products,
                      const OuterSumProductGradients&)>
    outer_sum_product_backward_kernel{
        "outer_sum_product backward", [](const Tensor& a, const Tensor& b, const Tensor& values, const Tensor& dy,
                                         Float32Products, const OuterSumProductGradients& wanted) {
          const int products = (wanted.da.defined() ? 1 : 0) + (wanted.dvalues.defined() ? 1 : 0);
          return product_cost({products, a.numel(), b.size(-1), values.size(1)}, a, b, values, dy, wanted);
        }};

namespace {

void check(const Tensor& a, const Tensor& b, const Tensor& values) {
  check_floating("outer_sum_product", "a", a);
  check_same_dtype("outer_sum_product", a, b);
  check_rank("outer_sum_product", "values", values, 2);
  check_parameter("outer_sum_product", "values", values, a.dtype());
  if (a.rank() == 0 || b.rank() == 0 || a.shape().without(-1) != b.shape().without(-1))
    throw ArgumentError(
        fmt::format("outer_sum_product: expected a [.., I] and b [.., J] with equal outer axes, got {} and {}",
                    a.shape().str(), b.shape().str()));
  if (values.size(0) != a.size(-1) * b.size(-1))
    throw ArgumentError(fmt::format("outer_sum_product: expected values with {} x {} = {} rows, got shape {}",
                                    a.size(-1), b.size(-1), a.size(-1) * b.size(-1), values.shape().str()));
}

}  // namespace

Tensor outer_sum_product(const Tensor& a, const Tensor& b, const Tensor& values, Float32Products products) {
  check(a, b, values);
  const Tensor y = Tensor::empty(a.shape().with(-1, values.size(1)), a.dtype(), a.device());
  const Tensor used = values.dtype() == a.dtype() ? values : converted(values.detach(), a.dtype());
  outer_sum_product_kernel(a.device(), a, b, used, products, y);
  Backward back("outer_sum_product", {a, b, values}, {y});
  if (!back.active()) return y;
  back.once_differentiable([a = back.keep(a), b = back.keep(b), used = back.keep(used), parameters = values.dtype(),
                            products, need_pairs = back.needed(0) || back.needed(1),
                            need_values = back.needed(2)](std::span<const Tensor> dys) {
    const Tensor left = a.get(), right = b.get(), table = used.get();
    const OuterSumProductGradients wanted{
        need_pairs ? Tensor::empty_like(left) : Tensor(), need_pairs ? Tensor::empty_like(right) : Tensor(),
        need_values ? Tensor::empty(table.shape(), parameters, table.device()) : Tensor()};
    outer_sum_product_backward_kernel(dys[0].device(), left, right, table, dys[0], products, wanted);
    return std::vector{wanted.da, wanted.db, wanted.dvalues};
  });
  return y;
}

namespace {

// --- blocks --------------------------------------------------------------------------------------------------------

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

// [0, count) in pieces of `each`.
struct Blocks {
  std::int64_t count, each;

  std::int64_t number() const { return (count + each - 1) / each; }
  Range operator[](std::int64_t block) const { return {block * each, std::min(count, (block + 1) * each)}; }
};

// Rows: 256, fewer where there would be too few blocks to share out.
Blocks row_blocks(std::int64_t rows) {
  std::int64_t each = 256;
  while (each > 32 && rows / each < 16) each /= 2;
  return {rows, each};
}
// Of i: some 512 pairs, so that the activations of a block and their values stay in cache.
Blocks pair_blocks(std::int64_t I, std::int64_t J) { return {I, std::max<std::int64_t>(1, 512 / J)}; }

// Loops over j run in whole vectors of so many: a row of b is copied and padded, and buffers of pairs [r, i, j], which
// have no pad, are longer by one vector.
constexpr std::int64_t kVector = 16;
std::int64_t whole_vectors(std::int64_t J) { return (J + kVector - 1) / kVector * kVector; }

// Row r of b in the type of sums, with `pad` behind it.
template <class T, class Value>
void widen(const Rows<T>& b, std::int64_t r, Value pad, std::vector<Value>& to) {
  to.assign(static_cast<std::size_t>(whole_vectors(b.cols)), pad);
  std::transform(b.row(r), b.row(r) + b.cols, to.begin(), [](T v) { return static_cast<Value>(v); });
}

// to[r, i, j] = relu(a[r, i] + b[r, j]). What is written beyond the last j is written over by the next i.
template <class T>
void make_activations(const Rows<T>& a, const Rows<T>& b, Range rows, Range is, T* to) {
  using Value = accumulate_t<T>;
  std::vector<Value> wide;
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    widen(b, r, Value(0), wide);
    const Value* const right = wide.data();
    for (std::int64_t i = is.begin; i < is.end; ++i, to += b.cols) {
      const auto left = static_cast<Value>(a.row(r)[i]);
      for (std::int64_t first = 0; first < std::ssize(wide); first += kVector)
        for (std::int64_t j = first; j < first + kVector; ++j) to[j] = T(Relu{}(left + right[j]));
    }
  }
}

// da[r, i] = the sum over j of those dpairs[r, i, j] whose activation is not cut off; sums[r, j] += that over i.
template <class T, class Sum>
void sum_pairs(const Rows<T>& a, const Rows<T>& b, Range rows, Range is, const Sum* dpairs, const Rows<T>& da,
               const Rows<Sum>& sums) {
  const std::int64_t padded = whole_vectors(b.cols);
  std::vector<Sum> wide;
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    widen(b, r, -std::numeric_limits<Sum>::infinity(), wide);  // the pad passes nothing
    const Sum* const right = wide.data();
    Sum* const columns = sums.row(r - rows.begin);
    for (std::int64_t i = is.begin; i < is.end; ++i, dpairs += b.cols) {
      const auto left = static_cast<Sum>(a.row(r)[i]);
      Sum total = 0;
#pragma omp simd reduction(+ : total)
      for (std::int64_t j = 0; j < padded; ++j) {
        const Sum v = left + right[j] > 0 ? dpairs[j] : Sum(0);
        columns[j] += v;
        total += v;
      }
      da.row(r)[i] = T(total);
    }
  }
}

// Rows of `to` where its numbers can be the sums themselves, else of `place`, which they are rounded from at the end.
template <class Sum, class Out>
Rows<Sum> rows_for_sums(const Rows<Out>& to, Range range, std::vector<Sum>& place) {
  if constexpr (std::is_same_v<Sum, Out>) {
    return {to.row(range.begin), range.size(), to.cols, to.stride};
  } else {
    place.resize(static_cast<std::size_t>(range.size() * to.cols));
    return {place.data(), range.size(), to.cols, to.cols};
  }
}
template <class Sum, class Out>
void store_sums(const Rows<Sum>& sums, const Rows<Out>& to, Range range) {
  if constexpr (!std::is_same_v<Sum, Out>)
    for (std::int64_t r = 0; r < sums.rows; ++r)
      std::transform(sums.row(r), sums.row(r) + sums.cols, to.row(range.begin + r), [](Sum v) { return Out(v); });
}

cpu::GemmMode mode_of(std::int64_t block) { return block == 0 ? cpu::GemmMode::overwrite : cpu::GemmMode::accumulate; }

// --- products ------------------------------------------------------------------------------------------------------

template <class T>
void multiply(const Rows<T>& a, const Rows<T>& b, const Rows<T>& values, Float32Products products, const Rows<T>& y) {
  using Sum = accumulate_t<T>;
  const Blocks blocks = row_blocks(y.rows), pairs = pair_blocks(a.cols, b.cols);
  parallel_for(blocks.number(), 1, [&](std::int64_t block, std::int64_t) {
    const Range rows = blocks[block];
    std::vector<T> activations(static_cast<std::size_t>(rows.size() * pairs.each * b.cols + kVector));
    std::vector<Sum> place;
    const Rows<Sum> sums = rows_for_sums(y, rows, place);
    for (std::int64_t p = 0; p < pairs.number(); ++p) {
      const Range is = pairs[p];
      const std::int64_t inner = is.size() * b.cols;
      make_activations(a, b, rows, is, activations.data());
      cpu::gemm<T, T, Sum>(rows.size(), y.cols, inner, {activations.data(), inner},
                           {values.row(is.begin * b.cols), values.stride}, sums.data, sums.stride, products,
                           mode_of(p));
    }
    store_sums(sums, y, rows);
  });
}

// dpairs[r, i, j] = dy[r] . values[i J + j], and from them da and db.
template <class T>
void pass_to_pairs(const Rows<T>& a, const Rows<T>& b, const Rows<T>& values, const Rows<T>& dy,
                   Float32Products products, const Rows<T>& da, const Rows<T>& db) {
  using Sum = accumulate_t<T>;
  const Blocks blocks = row_blocks(dy.rows), pairs = pair_blocks(a.cols, b.cols);
  parallel_for(blocks.number(), 1, [&](std::int64_t block, std::int64_t) {
    const Range rows = blocks[block];
    const std::int64_t padded = whole_vectors(b.cols);
    std::vector<Sum> dpairs(static_cast<std::size_t>(rows.size() * pairs.each * b.cols + kVector)),
        columns(static_cast<std::size_t>(rows.size() * padded));
    const Rows<Sum> sums{columns.data(), rows.size(), b.cols, padded};
    for (std::int64_t p = 0; p < pairs.number(); ++p) {
      const Range is = pairs[p];
      const std::int64_t width = is.size() * b.cols;
      cpu::gemm<T, T, Sum>(rows.size(), width, dy.cols, {dy.row(rows.begin), dy.stride},
                           {values.row(is.begin * b.cols), values.stride, true}, dpairs.data(), width, products);
      sum_pairs(a, b, rows, is, dpairs.data(), da, sums);
    }
    for (std::int64_t r = 0; r < sums.rows; ++r)
      std::transform(sums.row(r), sums.row(r) + sums.cols, db.row(rows.begin + r), [](Sum v) { return T(v); });
  });
}

// dvalues = activationsᵀ dy.
template <class T, class P>
void pass_to_values(const Rows<T>& a, const Rows<T>& b, const Rows<T>& dy, Float32Products products,
                    const Rows<P>& dvalues) {
  using Sum = accumulate_t<T>;
  const Blocks blocks{dy.rows, 512}, pairs = pair_blocks(a.cols, b.cols);
  parallel_for(pairs.number(), 1, [&](std::int64_t p, std::int64_t) {
    const Range is = pairs[p], named{is.begin * b.cols, is.end * b.cols};
    std::vector<T> activations(static_cast<std::size_t>(std::min(blocks.each, dy.rows) * named.size() + kVector));
    std::vector<Sum> place;
    const Rows<Sum> sums = rows_for_sums(dvalues, named, place);
    for (std::int64_t block = 0; block < blocks.number(); ++block) {
      const Range rows = blocks[block];
      make_activations(a, b, rows, is, activations.data());
      cpu::gemm<T, T, Sum>(named.size(), dy.cols, rows.size(), {activations.data(), named.size(), true},
                           {dy.row(rows.begin), dy.stride}, sums.data, sums.stride, products, mode_of(block));
    }
    store_sums(sums, dvalues, named);
  });
}

void outer_sum_product_cpu(const Tensor& a, const Tensor& b, const Tensor& values, Float32Products products,
                           const Tensor& y) {
  if (y.numel() == 0) return;
  if (values.size(0) == 0) return fill(y, 0);
  const Tensor left = rows_form(a), right = rows_form(b), table = rows_form(values);
  visit_floating("outer_sum_product", a.dtype(), [&]<class T>(Type<T>) {
    multiply(rows_of<T>(left), rows_of<T>(right), rows_of<T>(table), products, rows_of<T>(y));
  });
}

void outer_sum_product_backward_cpu(const Tensor& a, const Tensor& b, const Tensor& values, const Tensor& dy,
                                    Float32Products products, const OuterSumProductGradients& wanted) {
  if (dy.numel() == 0 || values.size(0) == 0) {
    for (const Tensor* t : {&wanted.da, &wanted.db, &wanted.dvalues})
      if (t->defined()) fill(*t, 0);
    return;
  }
  const Tensor left = rows_form(a), right = rows_form(b), table = rows_form(values), given = rows_form(dy);
  visit_with_parameters("outer_sum_product", dy.dtype(), wanted.dvalues.defined() ? wanted.dvalues.dtype() : dy.dtype(),
                        [&]<class T, class P>(Type<T>, Type<P>) {
                          const auto p = rows_of<T>(left), q = rows_of<T>(right), d = rows_of<T>(given);
                          if (wanted.da.defined())
                            pass_to_pairs(p, q, rows_of<T>(table), d, products, rows_of<T>(wanted.da),
                                          rows_of<T>(wanted.db));
                          if (wanted.dvalues.defined()) pass_to_values(p, q, d, products, rows_of<P>(wanted.dvalues));
                        });
}

const bool on_cpu = outer_sum_product_kernel.add(DeviceKind::cpu, outer_sum_product_cpu) &&
                    outer_sum_product_backward_kernel.add(DeviceKind::cpu, outer_sum_product_backward_cpu);

std::vector<Tensor> reference(std::span<const Tensor> in) {
  const auto a = in[0].values(), b = in[1].values(), v = in[2].values();
  const auto I = static_cast<std::size_t>(in[0].size(-1)), J = static_cast<std::size_t>(in[1].size(-1)),
             D = static_cast<std::size_t>(in[2].size(1));
  const Shape shape = in[0].shape().with(-1, in[2].size(1));
  std::vector<double> y(static_cast<std::size_t>(shape.product()));
  for (std::size_t e = 0; e < y.size(); ++e)
    for (std::size_t i = 0; i < I; ++i)
      for (std::size_t j = 0; j < J; ++j)
        y[e] += std::max(a[e / D * I + i] + b[e / D * J + j], 0.0) * v[(i * J + j) * D + e % D];
  return {Tensor::from_values(shape, y)};
}

Sample product_sample(const std::string& name, const Shape& outer, std::int64_t i, std::int64_t j, std::int64_t d,
                      Float32Products products = Float32Products::ieee) {
  Shape a = outer, b = outer;
  a.push_back(i);
  b.push_back(j);
  // Two grids half a step apart: no sum comes near the kink of relu.
  return {
      name,
      {random_on_grid(a, 181, 0), random_on_grid(b, 182, 1.0 / 16), random_factor({i * j, d}, 183, products)},
      [products](std::span<const Tensor> in) { return std::vector{outer_sum_product(in[0], in[1], in[2], products)}; },
      reference,
      [products](std::span<const Tensor> in) {
        return std::vector{linear(outer_sum(in[0], in[1], Activation::relu), transpose(in[2], 0, 1), products)};
      }};
}

const OpRegistration registration{{
    .name = "outer_sum_product",
    .source = __FILE__,
    .signature = "outer_sum_product(a, b, values, Float32Products = ieee)",
    .summary = "the sum over i and j of relu(a[..., i] + b[..., j]) times row i J + j of values [I J, D], without "
               "storing [..., I J]; values may be float32 beside bf16",
    .samples =
        [] {
          return std::vector<Sample>{
              product_sample("usual", {4}, 8, 8, 16),
              product_sample("odd", {3, 5}, 7, 9, 11),
              product_sample("several tiles", {150}, 19, 21, 140),
              product_sample("wide", {2}, 3, 601, 5),
              product_sample("tf32", {3, 5}, 7, 9, 11, Float32Products::tf32),
              product_sample("no outer axis", {}, 3, 5, 2),
              product_sample("size one", {1}, 1, 1, 1),
              product_sample("zero rows", {0}, 4, 3, 2),
              product_sample("zero left", {3}, 0, 2, 4),
              product_sample("zero right", {3}, 2, 0, 4),
              product_sample("zero width", {3}, 2, 2, 0),
          };
        },
    .large = [] { return product_sample("large", {256}, 46, 46, 412); },
    .bad_samples =
        [] {
          const auto call = [](const Shape& a, const Shape& b, DType b_dtype, const Shape& v, DType v_dtype) {
            return [=] {
              outer_sum_product(Tensor::zeros(a, DType::float32), Tensor::zeros(b, b_dtype), Tensor::zeros(v, v_dtype));
            };
          };
          using enum DType;
          return std::vector<BadSample>{
              {"outer axes", call({2, 3}, {4, 3}, float32, {9, 2}, float32),
               "outer_sum_product: expected a [.., I] and b [.., J] with equal outer axes, got [2, 3] and [4, 3]"},
              {"rank 0", call({}, {3}, float32, {3, 2}, float32), "got [] and [3]"},
              {"rows of values", call({2, 3}, {2, 4}, float32, {9, 2}, float32),
               "outer_sum_product: expected values with 3 x 4 = 12 rows, got shape [9, 2]"},
              {"axes of values", call({2, 3}, {2, 3}, float32, {9}, float32),
               "outer_sum_product: expected values with 2 axes"},
              {"dtypes", call({2, 3}, {2, 3}, float64, {9, 2}, float32),
               "outer_sum_product: expected one dtype on both sides"},
              {"dtype of values", call({2, 3}, {2, 3}, float32, {9, 2}, bf16),
               "outer_sum_product: expected values of dtype float32 beside float32 activations, got bf16"},
          };
        },
}};

}  // namespace
}  // namespace weir
