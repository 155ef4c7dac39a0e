#include "ops/support/samples.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/philox.h"

namespace weir {

Tensor random_tensor(const Shape& shape, std::uint64_t seed, double low, double high) {
  const RandomStream random{seed, 7, 0};
  std::vector<double> values(static_cast<std::size_t>(shape.product()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = low + (high - low) * static_cast<double>(random.uniform(i));
  return Tensor::from_values(shape, values);
}

Tensor random_away_from_zero(const Shape& shape, std::uint64_t seed, double gap) {
  std::vector<double> values = random_tensor(shape, seed).values();
  for (double& v : values) v = v < 0 ? std::min(v, -gap) : std::max(v, gap);
  return Tensor::from_values(shape, values);
}

Tensor random_on_grid(const Shape& shape, std::uint64_t seed, double offset) {
  std::vector<double> values = random_tensor(shape, seed).values();
  for (double& v : values) v = std::floor(v * 8) / 8 + offset;
  return Tensor::from_values(shape, values);
}

Tensor random_factor(const Shape& shape, std::uint64_t seed, Float32Products products) {
  return products == Float32Products::tf32 ? random_on_grid(shape, seed, 1.0 / 16) : random_tensor(shape, seed);
}

Tensor separated_values(const Shape& shape, std::uint64_t seed) {
  const std::int64_t count = shape.product();
  std::vector<double> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0.0);
  const std::vector<double> keys = random_tensor(shape, seed).values();
  std::sort(values.begin(), values.end(),
            [&](double a, double b) { return keys[static_cast<std::size_t>(a)] < keys[static_cast<std::size_t>(b)]; });
  for (double& v : values) v = 4 * v / static_cast<double>(count) - 2;
  return Tensor::from_values(shape, values);
}

Tensor random_indices(const Shape& shape, std::uint64_t seed, std::int64_t bound, DType dtype) {
  const RandomStream random{seed, 8, 0};
  std::vector<double> values(static_cast<std::size_t>(shape.product()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(random.bits(i) % static_cast<std::uint64_t>(bound));
  return Tensor::from_values(shape, values, dtype);
}

const std::vector<NamedShape>& sample_shapes() {
  static const std::vector<NamedShape> shapes = {{"usual", {4, 16}},     {"odd", {3, 5, 7}},       {"size one", {1, 1}},
                                                 {"zero rows", {0, 4}},  {"zero columns", {3, 0}}, {"rank 0", {}},
                                                 {"long row", {2, 4133}}};
  return shapes;
}

Shape large_shape() { return {16384, 1024}; }

namespace {

Sample unary_sample(const std::string& name, const std::function<Tensor(const Tensor&)>& op,
                    const std::function<double(double)>& f, const Tensor& x) {
  return {name,
          {x},
          [op](std::span<const Tensor> in) { return std::vector{op(in[0])}; },
          [f](std::span<const Tensor> in) {
            std::vector<double> y = in[0].values();
            std::transform(y.begin(), y.end(), y.begin(), f);
            return std::vector{Tensor::from_values(in[0].shape(), y)};
          }};
}

Sample binary_sample(const std::string& name, const std::function<Tensor(const Tensor&, const Tensor&)>& op,
                     const std::function<double(double, double)>& f, const Tensor& a, const Tensor& b) {
  return {name,
          {a, b},
          [op](std::span<const Tensor> in) { return std::vector{op(in[0], in[1])}; },
          [f](std::span<const Tensor> in) {
            const Shape shape = broadcast_shapes("reference", in[0].shape(), in[1].shape());
            std::vector<double> y = broadcast_view(in[0], shape).values();
            const std::vector<double> other = broadcast_view(in[1], shape).values();
            for (std::size_t i = 0; i < y.size(); ++i) y[i] = f(y[i], other[i]);
            return std::vector{Tensor::from_values(shape, y)};
          }};
}

}  // namespace

std::vector<Sample> unary_samples(const std::function<Tensor(const Tensor&)>& op,
                                  const std::function<double(double)>& f,
                                  const std::function<Tensor(const Shape&, std::uint64_t)>& make_input) {
  std::vector<Sample> samples;
  for (const auto& [name, shape] : sample_shapes())
    samples.push_back(unary_sample(name, op, f, make_input(shape, samples.size() + 1)));
  return samples;
}

std::vector<Sample> binary_samples(const std::function<Tensor(const Tensor&, const Tensor&)>& op,
                                   const std::function<double(double, double)>& f,
                                   const std::function<Tensor(const Shape&, std::uint64_t)>& make_b) {
  struct Pair {
    std::string name;
    Shape a, b;
  };
  std::vector<Pair> pairs = {
      {"row", {4, 6}, {6}},   {"column", {5, 3}, {5, 1}},         {"both stretch", {3, 1, 5}, {2, 1}},
      {"scalar", {3, 4}, {}}, {"zero stretches", {1, 3}, {0, 3}}, {"rank 0 left", {}, {2, 3}}};
  for (const auto& [name, shape] : sample_shapes()) pairs.push_back({name, shape, shape});
  std::vector<Sample> samples;
  for (const Pair& pair : pairs) {
    const std::uint64_t seed = 2 * samples.size() + 1;
    samples.push_back(binary_sample(pair.name, op, f, random_tensor(pair.a, seed), make_b(pair.b, seed + 1)));
  }
  return samples;
}

std::vector<BadSample> binary_bad_samples(const std::string& name,
                                          const std::function<Tensor(const Tensor&, const Tensor&)>& op) {
  const auto call = [op](const Shape& a, DType a_dtype, const Shape& b, DType b_dtype) {
    return [=] { op(Tensor::zeros(a, a_dtype), Tensor::zeros(b, b_dtype)); };
  };
  return {
      {"shapes", call({2, 3}, DType::float32, {4}, DType::float32), name + ": shapes [2, 3] and [4] do not broadcast"},
      {"dtypes", call({2}, DType::float32, {2}, DType::float64),
       name + ": expected one dtype on both sides, got float32 and float64"},
      {"integers", call({2}, DType::int32, {2}, DType::int32),
       name + ": expected dtype float64, float32 or bf16, got int32"}};
}

OpRecord unary_record(const UnaryRecord& record, const char* source) {
  const auto input = [record](const Shape& shape, std::uint64_t seed) {
    return record.gap > 0 ? random_away_from_zero(shape, seed, record.gap)
                          : random_tensor(shape, seed, record.low, record.high);
  };
  OpRecord result;
  result.name = record.name;
  result.source = source;
  result.signature = record.signature.empty() ? record.name + "(x)" : record.signature;
  result.summary = record.summary;
  result.samples = [record, input] { return unary_samples(record.op, record.formula, input); };
  result.large = [record, input] { return unary_sample("large", record.op, record.formula, input(large_shape(), 1)); };
  result.bad_samples = [record] {
    return std::vector<BadSample>{{"integers", [op = record.op] { op(Tensor::zeros({2}, DType::int32)); },
                                   record.name + ": expected dtype float64, float32 or bf16, got int32"}};
  };
  result.twice_differentiable = true;
  return result;
}

OpRecord binary_record(const BinaryRecord& record, const char* source) {
  const auto input = [record](const Shape& shape, std::uint64_t seed) {
    return record.gap > 0 ? random_away_from_zero(shape, seed, record.gap) : random_tensor(shape, seed);
  };
  OpRecord result;
  result.name = record.name;
  result.source = source;
  result.signature = record.signature;
  result.summary = record.summary;
  result.samples = [record, input] { return binary_samples(record.op, record.formula, input); };
  result.large = [record, input] {
    return binary_sample("large", record.op, record.formula, random_tensor(large_shape(), 1), input(large_shape(), 2));
  };
  result.bad_samples = [record] { return binary_bad_samples(record.name, record.op); };
  result.twice_differentiable = true;
  return result;
}

}  // namespace weir
