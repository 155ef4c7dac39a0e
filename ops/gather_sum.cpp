#include "ops/gather_sum.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/support/check.h"
#include "ops/support/index.h"
#include "ops/support/parameters.h"
#include "ops/support/samples.h"

namespace weir {

namespace {

// Rows are read, or written and read, where an index names them: bytes of one such pass.
double row_bytes(const Tensor& index, const Tensor& values) {
  return static_cast<double>(index.numel()) * tensor_bytes(values) / std::max(1.0, static_cast<double>(values.size(0)));
}

}  // namespace

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&)> gather_sum_kernel{
    "gather_sum", [](const Tensor& weight, const Tensor& index, const Tensor& values, const Tensor& y) {
      KernelCost cost = product_cost({index.numel(), values.size(1)}, weight, index, y);
      cost.bytes += row_bytes(index, values);
      return cost;
    }};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const GatherSumGradients&)>
    gather_sum_backward_kernel{
        "gather_sum backward", [](const Tensor& weight, const Tensor& index, const Tensor& values, const Tensor& dy,
                                  const GatherSumGradients& wanted) {
          const int products = (wanted.dweight.defined() ? 1 : 0) + (wanted.dvalues.defined() ? 1 : 0);
          KernelCost cost = product_cost({products, index.numel(), values.size(1)}, weight, index, dy, wanted.dweight);
          if (wanted.dweight.defined()) cost.bytes += row_bytes(index, values);
          cost.bytes += wanted.accumulate ? 2 * row_bytes(index, values) : tensor_bytes(wanted.dvalues);
          return cost;
        }};

namespace {

void check(const Tensor& weight, const Tensor& index, const Tensor& values) {
  check_floating("gather_sum", "weight", weight);
  check_rank("gather_sum", "values", values, 2);
  check_parameter("gather_sum", "values", values, weight.dtype());
  if (weight.rank() == 0) throw ArgumentError("gather_sum: expected weight with at least 1 axis, got shape []");
  check_shape("gather_sum", "index", index, weight.shape());
  if (index.numel() > std::numeric_limits<std::int32_t>::max())
    throw ArgumentError(fmt::format("gather_sum: index of shape {} has more than 2^31 - 1 elements; split the batch",
                                    index.shape().str()));
}

}  // namespace

Tensor gather_sum(const Tensor& weight, const Tensor& index, const Tensor& values) {
  check(weight, index, values);
  const Tensor y = Tensor::empty(weight.shape().with(-1, values.size(1)), weight.dtype(), weight.device());
  gather_sum_kernel(weight.device(), weight, index, values, y);
  Backward back("gather_sum", {weight, values}, {y});
  if (!back.active()) return y;
  back.once_differentiable([weight = back.keep(weight), index = back.keep(index), values = back.keep(values),
                            sum = back.leaf_sum(1), needs_weight = back.needed(0),
                            needs_values = back.needed(1)](auto dys) {
    const Tensor w = weight.get(), v = values.get(), in_place = sum.get();
    GatherSumGradients wanted{needs_weight ? Tensor::empty_like(w) : Tensor(), in_place, in_place.defined()};
    if (needs_values && !in_place.defined()) wanted.dvalues = Tensor::empty_like(v);
    gather_sum_backward_kernel(dys[0].device(), w, index.get(), v, dys[0], wanted);
    return std::vector{wanted.dweight, in_place.defined() ? Tensor() : wanted.dvalues};
  });
  return y;
}

namespace {

constexpr std::size_t kTogether = 4;  // rows added up side by side, while as many next ones are asked of memory

template <class T>
inline constexpr auto kLine = static_cast<std::int64_t>(64 / sizeof(T));  // elements of a cache line

template <class T>
void prefetch_row(const T* row, std::int64_t n) {
  for (std::int64_t c = 0; c < n; c += kLine<T>) __builtin_prefetch(row + c, 0, 2);
}

// into[d] += the sum over Rows of weight[q] * from[q][d], in that order, asking for next[q][d] meanwhile. To the
// second-level cache: the first has too few places for lines under way.
template <std::size_t Rows, class P, class Sum>
void add_rows(const P* const* from, const Sum* weight, const P* const* next, std::int64_t D, Sum* into) {
  const auto add = [&](std::int64_t d) {
    Sum sum = into[d];
    for (std::size_t q = 0; q < Rows; ++q) sum += weight[q] * static_cast<Sum>(from[q][d]);
    into[d] = sum;
  };
  std::int64_t line = 0;
  for (; line + kLine<P> <= D; line += kLine<P>) {
    for (std::size_t q = 0; q < Rows; ++q) __builtin_prefetch(next[q] + line, 0, 2);
#pragma omp simd
    for (std::int64_t d = line; d < line + kLine<P>; ++d) add(d);
  }
  for (; line < D; ++line) add(line);
}

// Row-major copy of rows [begin, end) of an index, checked.
template <class Index>
void read_index(const Rows<Index>& index, std::int64_t begin, std::int64_t end, std::int64_t bound,
                std::vector<std::int32_t>& into) {
  into.clear();
  for (std::int64_t r = begin; r < end; ++r)
    for (std::int64_t k = 0; k < index.cols; ++k) {
      const Index value = index.row(r)[k];
      if (value < 0 || value >= bound)
        throw ArgumentError(fmt::format("gather_sum: index {} at row {}, column {} is out of range; values has {} rows",
                                        value, r, k, bound));
      into.push_back(static_cast<std::int32_t>(value));
    }
}

template <class T, class P, class Index>
void sum_gathered(const Rows<T>& weight, const Rows<Index>& index, const Rows<P>& values, const Rows<T>& y) {
  using Sum = accumulate_t<T>;
  const std::int64_t K = weight.cols, D = values.cols;
  // Many rows of y per task, so that the values of the next ones are nearly always under way.
  parallel_for(y.rows, std::max<std::int64_t>(8, grain_for(K * D)), [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int32_t> chosen;
    std::vector<Sum> sums(static_cast<std::size_t>(D));
    read_index(index, begin, end, values.rows, chosen);
    const auto value_row = [&](std::size_t slot) { return values.row(chosen[std::min(slot, chosen.size() - 1)]); };
    for (std::size_t slot = 0; slot < std::min(kTogether, chosen.size()); ++slot) prefetch_row(value_row(slot), D);
    std::size_t slot = 0;
    for (std::int64_t r = begin; r < end; ++r) {
      std::fill(sums.begin(), sums.end(), Sum(0));
      const P *from[kTogether], *next[kTogether];
      Sum w[kTogether];
      for (std::int64_t k = 0; k < K;) {
        const std::size_t n = K - k >= static_cast<std::int64_t>(kTogether) ? kTogether : 1;
        for (std::size_t q = 0; q < n; ++q, ++slot, ++k) {
          from[q] = value_row(slot);
          next[q] = value_row(slot + kTogether);
          w[q] = static_cast<Sum>(weight.row(r)[k]);
        }
        n == 1 ? add_rows<1>(from, w, next, D, sums.data()) : add_rows<kTogether>(from, w, next, D, sums.data());
      }
      std::transform(sums.begin(), sums.end(), y.row(r), [](Sum v) { return T(v); });
    }
  });
}

void gather_sum_cpu(const Tensor& weight, const Tensor& index, const Tensor& values, const Tensor& y) {
  const Tensor weights = rows_form(weight), chosen = rows_form(index), table = rows_form(values);
  visit_with_parameters("gather_sum", weight.dtype(), values.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    visit_index("gather_sum", index.dtype(), [&]<class Index>(Type<Index>) {
      sum_gathered(rows_of<T>(weights), rows_of<Index>(chosen), rows_of<P>(table), rows_of<T>(y));
    });
  });
}

// Slots (places of the index, row-major) sorted by the bucket of values that they name, by slot within one: a bucket is
// a range of rows that one thread then takes. Cut by shape alone.
struct Buckets {
  std::int64_t rows_each, count;
  std::vector<std::int32_t> slots, chosen;  // [slots]: in order of buckets; and which row of values each slot names
  std::vector<std::int64_t> offsets;        // [count + 1], into `slots`
};

template <class Index>
Buckets sort_into_buckets(const Rows<Index>& index, std::int64_t value_rows) {
  constexpr std::int64_t kBuckets = 512, kSlotsPerPart = 1 << 15;
  Buckets b;
  b.rows_each = std::max<std::int64_t>(1, (value_rows + kBuckets - 1) / kBuckets);
  b.count = (value_rows + b.rows_each - 1) / b.rows_each;
  const std::int64_t K = index.cols, slots = index.rows * K;
  b.slots.resize(static_cast<std::size_t>(slots));
  b.chosen.resize(static_cast<std::size_t>(slots));
  const std::int64_t rows_per_part = std::max<std::int64_t>(1, kSlotsPerPart / std::max<std::int64_t>(1, K));
  const std::int64_t parts = (index.rows + rows_per_part - 1) / rows_per_part;
  // next[part][bucket]: first how many slots of the part fall into the bucket, then where the next of them goes.
  std::vector<std::int64_t> next(static_cast<std::size_t>(parts * b.count));
  const auto each_slot = [&](std::int64_t part, auto&& f) {
    const std::int64_t end = std::min(index.rows, (part + 1) * rows_per_part) * K;
    for (std::int64_t slot = part * rows_per_part * K; slot < end; ++slot)
      f(slot, next[static_cast<std::size_t>(part * b.count + b.chosen[static_cast<std::size_t>(slot)] / b.rows_each)]);
  };
  parallel_for(parts, 1, [&](std::int64_t part, std::int64_t) {
    const std::int64_t begin = part * rows_per_part, end = std::min(index.rows, begin + rows_per_part);
    std::vector<std::int32_t> read;
    read_index(index, begin, end, value_rows, read);
    std::copy(read.begin(), read.end(), b.chosen.begin() + begin * K);
    each_slot(part, [](std::int64_t, std::int64_t& n) { ++n; });
  });
  std::int64_t total = 0;
  for (std::int64_t bucket = 0; bucket < b.count; ++bucket) {
    b.offsets.push_back(total);
    for (std::int64_t part = 0; part < parts; ++part) {
      std::int64_t& n = next[static_cast<std::size_t>(part * b.count + bucket)];
      n = std::exchange(total, total + n);
    }
  }
  b.offsets.push_back(total);
  parallel_for(parts, 1, [&](std::int64_t part, std::int64_t) {
    each_slot(part, [&](std::int64_t slot, std::int64_t& n) {
      b.slots[static_cast<std::size_t>(n++)] = static_cast<std::int32_t>(slot);
    });
  });
  return b;
}

// The gradients of one call; `bucket` serves the rows of values in one bucket and the slots that name them.
template <class T, class P>
struct SegmentSums {
  using Sum = accumulate_t<T>;
  Rows<T> weight, dy, dweight;
  Rows<P> values, dvalues;
  bool wants_weight, wants_values, accumulate;

  void bucket(const Buckets& b, std::int64_t number) const {
    const std::int64_t first = number * b.rows_each, rows = std::min(values.rows - first, b.rows_each);
    const IndexOrder order = sorted(b, number, first, rows);
    std::vector<Sum> sums(static_cast<std::size_t>(values.cols));
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto begin = order.offsets[static_cast<std::size_t>(row)];
      const auto end = order.offsets[static_cast<std::size_t>(row + 1)];
      if (begin < end)
        segment({order.positions.data() + begin, order.positions.data() + order.positions.size()}, end - begin,
                first + row, sums.data());
      else if (wants_values && !accumulate)
        std::fill_n(dvalues.row(first + row), dvalues.cols, P{});
    }
  }

  // The bucket's slots by the row they name.
  IndexOrder sorted(const Buckets& b, std::int64_t number, std::int64_t first, std::int64_t rows) const {
    const auto begin = b.offsets[static_cast<std::size_t>(number)];
    const auto end = b.offsets[static_cast<std::size_t>(number + 1)];
    std::vector<std::int64_t> named;
    for (auto i = begin; i < end; ++i)
      named.push_back(b.chosen[static_cast<std::size_t>(b.slots[static_cast<std::size_t>(i)])] - first);
    IndexOrder order = stable_order(named, rows);
    for (std::int32_t& position : order.positions) position = b.slots[static_cast<std::size_t>(begin + position)];
    return order;
  }

  // The first `count` of `slots` name `row`; those after them are what comes next.
  void segment(std::span<const std::int32_t> slots, std::int64_t count, std::int64_t row, Sum* sums) const {
    const std::int64_t D = values.cols, K = weight.cols;
    const P* const value = values.row(row);
    std::fill_n(sums, D, Sum(0));
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      const std::int64_t token = slots[i] / K, k = slots[i] % K;
      if (i + kTogether < slots.size()) prefetch_row(dy.row(slots[i + kTogether] / K), D);
      const T* const d = dy.row(token);
      if (wants_weight) {
        Sum dot = 0;
#pragma omp simd reduction(+ : dot)
        for (std::int64_t c = 0; c < D; ++c) dot += static_cast<Sum>(d[c]) * static_cast<Sum>(value[c]);
        dweight.row(token)[k] = T(dot);
      }
      if (wants_values) {
        const auto w = static_cast<Sum>(weight.row(token)[k]);
        for (std::int64_t c = 0; c < D; ++c) sums[c] += w * static_cast<Sum>(d[c]);
      }
    }
    if (!wants_values) return;
    P* const to = dvalues.row(row);
    if (accumulate)
      for (std::int64_t c = 0; c < D; ++c) to[c] = P(static_cast<Sum>(to[c]) + sums[c]);
    else
      for (std::int64_t c = 0; c < D; ++c) to[c] = P(sums[c]);
  }
};

void gather_sum_backward_cpu(const Tensor& weight, const Tensor& index, const Tensor& values, const Tensor& dy,
                             const GatherSumGradients& wanted) {
  const Tensor weights = rows_form(weight), chosen = rows_form(index), table = rows_form(values), given = rows_form(dy);
  const bool wants_weight = wanted.dweight.defined(), wants_values = wanted.dvalues.defined();
  visit_with_parameters("gather_sum", weight.dtype(), values.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    const SegmentSums<T, P> sums{.weight = rows_of<T>(weights),
                                 .dy = rows_of<T>(given),
                                 .dweight = wants_weight ? rows_of<T>(wanted.dweight) : Rows<T>{},
                                 .values = rows_of<P>(table),
                                 .dvalues = wants_values ? rows_of<P>(wanted.dvalues) : Rows<P>{},
                                 .wants_weight = wants_weight,
                                 .wants_values = wants_values,
                                 .accumulate = wanted.accumulate};
    visit_index("gather_sum", index.dtype(), [&]<class Index>(Type<Index>) {
      const Buckets buckets = sort_into_buckets(rows_of<Index>(chosen), values.size(0));
      parallel_for(buckets.count, 1, [&](std::int64_t bucket, std::int64_t) { sums.bucket(buckets, bucket); });
    });
  });
}

const bool on_cpu = gather_sum_kernel.add(DeviceKind::cpu, gather_sum_cpu) &&
                    gather_sum_backward_kernel.add(DeviceKind::cpu, gather_sum_backward_cpu);

Sample gather_sample(const std::string& name, const Shape& index, const Shape& values,
                     DType index_dtype = DType::int32) {
  return {name,
          {random_tensor(index, 61), random_indices(index, 62, std::max<std::int64_t>(1, values[0]), index_dtype),
           random_tensor(values, 63)},
          [](std::span<const Tensor> in) { return std::vector{gather_sum(in[0], in[1], in[2])}; },
          [](std::span<const Tensor> in) {
            const auto w = in[0].values(), chosen = in[1].values(), v = in[2].values();
            const auto K = static_cast<std::size_t>(in[0].size(-1)), D = static_cast<std::size_t>(in[2].size(1));
            const Shape shape = in[0].shape().with(-1, in[2].size(1));
            std::vector<double> y(static_cast<std::size_t>(shape.product()));
            for (std::size_t e = 0; e < y.size(); ++e)
              for (std::size_t k = 0; k < K; ++k)
                y[e] += w[e / D * K + k] * v[static_cast<std::size_t>(chosen[e / D * K + k]) * D + e % D];
            return std::vector{Tensor::from_values(shape, y)};
          }};
}

const OpRegistration registration{{
    .name = "gather_sum",
    .source = __FILE__,
    .signature = "gather_sum(weight, index, values)",
    .summary = "sum over j of weight[..., j] times row index[..., j] of values [V, D]: [..., D]; values may be float32 "
               "beside bf16",
    .samples =
        [] {
          return std::vector<Sample>{
              gather_sample("usual", {6, 4}, {20, 16}),
              gather_sample("odd", {3, 5, 7}, {11, 9}),
              gather_sample("int64", {4, 3}, {6, 5}, DType::int64),
              gather_sample("many of few", {40, 9}, {3, 17}),
              gather_sample("few of many", {5, 3}, {2000, 33}),
              gather_sample("several parts", {1100, 64}, {1300, 3}),
              gather_sample("no outer axis", {4}, {6, 5}),
              gather_sample("size one", {1, 1}, {1, 1}),
              gather_sample("zero rows", {0, 4}, {6, 5}),
              gather_sample("zero terms", {3, 0}, {6, 5}),
              gather_sample("zero columns", {3, 2}, {6, 0}),
          };
        },
    .large =
        [] {
          return gather_sample("large", {2048, 32}, {1 << 16, 412});
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& weight, std::vector<double> index, const Shape& values, DType dtype) {
            return [=] {
              const auto n = static_cast<std::int64_t>(index.size());
              gather_sum(Tensor::zeros(weight, DType::float32), Tensor::from_values({1, n}, index, DType::int32),
                         Tensor::zeros(values, dtype));
            };
          };
          return std::vector<BadSample>{
              {"too large", call({1, 2}, {0, 5}, {5, 3}, DType::float32),
               "gather_sum: index 5 at row 0, column 1 is out of range; values has 5 rows"},
              {"negative", call({1, 2}, {-1, 2}, {5, 3}, DType::float32), "gather_sum: index -1 at row 0, column 0"},
              {"index shape", call({1, 3}, {0, 1}, {5, 3}, DType::float32),
               "gather_sum: expected index of shape [1, 3], got [1, 2]"},
              {"values axes", call({1, 2}, {0, 1}, {5}, DType::float32), "gather_sum: expected values with 2 axes"},
              {"dtypes", call({1, 2}, {0, 1}, {5, 3}, DType::bf16),
               "gather_sum: expected values of dtype float32 beside float32 activations, got bf16"},
          };
        },
}};

}  // namespace
}  // namespace weir
