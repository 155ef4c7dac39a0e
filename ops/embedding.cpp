#include "ops/embedding.h"

#include <algorithm>

#include "autograd/backward.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/support/check.h"
#include "ops/support/index.h"
#include "ops/support/parameters.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> embedding_kernel{
    "embedding", [](const Tensor& weight, const Tensor& ids, const Tensor& y) {
      const double rows = static_cast<double>(y.numel()) * static_cast<double>(dtype_size(weight.dtype()));
      return KernelCost{.bytes = bytes_of(ids, y) + rows};
    }};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> embedding_backward_kernel{"embedding backward"};

namespace {

// Linear in dy, so its own gradient is the op itself.
Tensor embedding_backward(const Tensor& ids, const Tensor& dy, const Shape& shape, DType dtype) {
  const Tensor dweight = Tensor::empty(shape, dtype, dy.device());
  embedding_backward_kernel(dy.device(), ids, dy, dweight);
  Backward back("embedding backward", {dy}, {dweight});
  back.input(0, [ids = back.keep(ids), out = dy.dtype()](const Tensor& ddweight) {
    return embedding(ddweight, ids.get(), out);
  });
  return dweight;
}

}  // namespace

Tensor embedding(const Tensor& weight, const Tensor& ids, DType out) {
  check_floating("embedding", "weight", weight);
  check_rank("embedding", "weight", weight, 2);
  check_index_dtype("embedding", "ids", ids);
  check_parameter("embedding", "weight", weight, out);
  Shape shape = ids.shape();
  shape.push_back(weight.size(1));
  const Tensor y = Tensor::empty(shape, out, weight.device());
  embedding_kernel(weight.device(), weight, ids, y);
  Backward back("embedding", {weight}, {y});
  back.input(0, [ids = back.keep(ids), shape = weight.shape(), dtype = weight.dtype()](const Tensor& dy) {
    return embedding_backward(ids.get(), dy, shape, dtype);
  });
  return y;
}

namespace {

void embedding_cpu(const Tensor& weight, const Tensor& ids, const Tensor& y) {
  const auto chosen = checked_index("embedding", "ids", ids, weight.size(0));
  if (y.numel() == 0) return;
  const Tensor table = rows_form(weight);
  visit_with_parameters("embedding", y.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    const auto from = rows_of<P>(table);
    const auto to = rows_of<T>(y);
    parallel_for(to.rows, grain_for(to.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const P* const row = from.row(chosen[static_cast<std::size_t>(r)]);
        std::transform(row, row + to.cols, to.row(r), [](P v) { return T(v); });
      }
    });
  });
}

template <class T, class P>
void sum_segments(const IndexOrder& order, const Rows<T>& dy, const Rows<P>& dweight) {
  using Value = accumulate_t<T>;
  const std::int64_t per_row = dy.rows / std::max<std::int64_t>(dweight.rows, 1) + 1;
  parallel_for(dweight.rows, grain_for(per_row * dweight.cols), [&](std::int64_t begin, std::int64_t end) {
    std::vector<Value> sums(static_cast<std::size_t>(dweight.cols));
    for (std::int64_t v = begin; v < end; ++v) {
      std::fill(sums.begin(), sums.end(), Value(0));
      const auto last = order.offsets[static_cast<std::size_t>(v + 1)];
      for (auto i = order.offsets[static_cast<std::size_t>(v)]; i < last; ++i) {
        const T* const row = dy.row(order.positions[static_cast<std::size_t>(i)]);
        Value* const into = sums.data();
        for (std::int64_t c = 0; c < dweight.cols; ++c) into[c] += static_cast<Value>(row[c]);
      }
      std::transform(sums.begin(), sums.end(), dweight.row(v), [](Value sum) { return P(sum); });
    }
  });
}

void embedding_backward_cpu(const Tensor& ids, const Tensor& dy, const Tensor& dweight) {
  if (dy.numel() == 0) return fill(dweight, 0);
  const IndexOrder order = stable_order(checked_index("embedding", "ids", ids, dweight.size(0)), dweight.size(0));
  const Tensor rows = rows_form(dy);
  visit_with_parameters("embedding", dy.dtype(), dweight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    sum_segments(order, rows_of<T>(rows), rows_of<P>(dweight));
  });
}

const bool on_cpu = embedding_kernel.add(DeviceKind::cpu, embedding_cpu) &&
                    embedding_backward_kernel.add(DeviceKind::cpu, embedding_backward_cpu);

Sample embedding_sample(const std::string& name, const Shape& weight, const Shape& ids, DType id_dtype) {
  return {name,
          {random_tensor(weight, 51), random_indices(ids, 52, weight[0], id_dtype)},
          [](std::span<const Tensor> in) { return std::vector{embedding(in[0], in[1])}; },
          [](std::span<const Tensor> in) {
            const std::vector<double> w = in[0].values(), chosen = in[1].values();
            const auto D = static_cast<std::size_t>(in[0].size(1));
            Shape shape = in[1].shape();
            shape.push_back(in[0].size(1));
            std::vector<double> y;
            for (double id : chosen)
              for (std::size_t d = 0; d < D; ++d) y.push_back(w[static_cast<std::size_t>(id) * D + d]);
            return std::vector{Tensor::from_values(shape, y)};
          }};
}

const OpRegistration registration{{
    .name = "embedding",
    .source = __FILE__,
    .signature = "embedding(weight, ids, out = weight's dtype)",
    .summary = "the rows of weight [V, D] that ids [...] name: [..., D]; out may be bf16 beside a float32 weight",
    .samples =
        [] {
          return std::vector<Sample>{
              embedding_sample("usual", {10, 8}, {3, 4}, DType::int64),
              embedding_sample("odd", {7, 5}, {3, 5}, DType::int32),
              embedding_sample("bytes", {256, 3}, {41}, DType::uint8),
              embedding_sample("many of few", {3, 17}, {200}, DType::int64),
              embedding_sample("few of many", {900, 33}, {5}, DType::int32),
              embedding_sample("one id", {4, 3}, {}, DType::int64),
              embedding_sample("size one", {1, 1}, {1}, DType::int64),
              embedding_sample("zero ids", {4, 3}, {0, 2}, DType::int64),
              embedding_sample("zero columns", {4, 0}, {3}, DType::int64),
          };
        },
    .large =
        [] {
          return embedding_sample("large", {8000, 1024}, {8192}, DType::int32);
        },
    .bad_samples =
        [] {
          const auto call = [](std::vector<double> ids, DType dtype, DType out) {
            return [=] {
              const auto half = static_cast<std::int64_t>(ids.size()) / 2;
              embedding(Tensor::zeros({5, 2}, DType::float32), Tensor::from_values({2, half}, ids, dtype), out);
            };
          };
          return std::vector<BadSample>{
              {"too large", call({0, 4, 1, 5}, DType::int64, DType::float32),
               "embedding: ids[1, 1] is 5, expected 0 <= ids < 5"},
              {"negative", call({0, -1}, DType::int32, DType::float32), "embedding: ids[1, 0] is -1"},
              {"floating ids", call({0, 1}, DType::float32, DType::float32),
               "embedding: expected ids of dtype int64, int32 or uint8, got float32"},
              {"out", call({0, 1}, DType::int64, DType::float64),
               "embedding: expected weight of dtype float64 beside float64 activations, got float32"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
