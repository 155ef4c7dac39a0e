// Builders for the samples of op records: random tensors and the usual shapes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/float32_products.h"
#include "core/op_info.h"

namespace weir {

// Uniform float64 values in [low, high), the same for the same seed.
Tensor random_tensor(const Shape& shape, std::uint64_t seed, double low = -1, double high = 1);
// Random values whose distance from zero is at least `gap`: clear of the kink of ReLU and the like.
Tensor random_away_from_zero(const Shape& shape, std::uint64_t seed, double gap = 0.05);
// Random multiples of 1/8 in [-1, 1), plus an offset.
Tensor random_on_grid(const Shape& shape, std::uint64_t seed, double offset);
// Of products as exact as that: with tf32, values that it leaves as they are.
Tensor random_factor(const Shape& shape, std::uint64_t seed, Float32Products products);
// Distinct values in [-2, 2), at least 4 / numel apart, in scrambled order: clear of ties.
Tensor separated_values(const Shape& shape, std::uint64_t seed);
// Uniform integers in [0, bound).
Tensor random_indices(const Shape& shape, std::uint64_t seed, std::int64_t bound, DType dtype = DType::int64);

// The shapes every element-wise op is tried on: a usual one, odd, size one, zero-size, rank 0, long rows.
struct NamedShape {
  std::string name;
  Shape shape;
};
const std::vector<NamedShape>& sample_shapes();

// [16384, 1024], at which most ops are timed: 64 MiB of float32, more than most caches hold.
Shape large_shape();

// Samples of y = f(x), element by element, with x from `make_input`.
std::vector<Sample> unary_samples(const std::function<Tensor(const Tensor&)>& op,
                                  const std::function<double(double)>& f,
                                  const std::function<Tensor(const Shape&, std::uint64_t)>& make_input);

// Samples of y = f(a, b) with broadcasting; b from `make_b`.
std::vector<Sample> binary_samples(const std::function<Tensor(const Tensor&, const Tensor&)>& op,
                                   const std::function<double(double, double)>& f,
                                   const std::function<Tensor(const Shape&, std::uint64_t)>& make_b);

// What the records of element-wise ops do not share.
struct UnaryRecord {
  std::string name;
  Tensor (*op)(const Tensor& x);
  std::string signature{};  // empty: name(x)
  std::string summary;
  double (*formula)(double x);
  double low = -1, high = 1, gap = 0;  // inputs lie in [low, high), at least `gap` away from zero
};
// The default is the file of the call; clang 14, which fuzzing and the race check take, lacks std::source_location.
OpRecord unary_record(const UnaryRecord& record, const char* source = __builtin_FILE());

struct BinaryRecord {
  std::string name;
  Tensor (*op)(const Tensor& a, const Tensor& b);
  std::string signature, summary;
  double (*formula)(double a, double b);
  double gap = 0;  // how far b is away from zero
};
OpRecord binary_record(const BinaryRecord& record, const char* source = __builtin_FILE());

// What every binary op refuses: shapes that do not broadcast, two dtypes, integers.
std::vector<BadSample> binary_bad_samples(const std::string& name,
                                          const std::function<Tensor(const Tensor&, const Tensor&)>& op);

}  // namespace weir
