#include "ops/rotary.h"

#include <fmt/format.h>

#include <cmath>
#include <complex>
#include <vector>

#include "autograd/backward.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/broadcast_to.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Rotation&, const Tensor&)> rotary_kernel{"rotary"};

namespace {

// The gradient of a rotation is the rotation back.
Tensor rotated(const Tensor& x, const Rotation& rotation) {
  Tensor y = Tensor::empty_like(x);
  rotary_kernel(x.device(), x, rotation, y);
  Backward back("rotary", {x}, {y});
  Rotation opposite = rotation;
  opposite.inverse = !rotation.inverse;
  back.input(0, [opposite](const Tensor& dy) { return rotated(dy, opposite); });
  return y;
}

}  // namespace

Tensor rotary(const Tensor& x, std::int64_t first_position, double base) {
  check_floating("rotary", "x", x);
  check_rank("rotary", "x", x, 4);
  if (x.size(3) % 2 != 0)
    throw ArgumentError(fmt::format(
        "rotary: heads of {} elements; elements turn in pairs, so a head needs an even number of them", x.size(3)));
  if (first_position < 0)
    throw ArgumentError(fmt::format("rotary: expected a first position of 0 or more, got {}", first_position));
  if (!(base > 0) || !std::isfinite(base))
    throw ArgumentError(fmt::format("rotary: expected a finite base above 0, such as 10000, got {}", base));
  return rotated(x, {first_position, base, false});
}

namespace {

// cos and sin of a position's angles, for P / 2 pairs each.
template <class Value>
struct Turn {
  std::vector<Value> cosines, sines;

  explicit Turn(std::size_t pairs) : cosines(pairs), sines(pairs) {}

  void move_to(double position, const std::vector<double>& frequencies) {
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      cosines[i] = static_cast<Value>(std::cos(position * frequencies[i]));
      sines[i] = static_cast<Value>(std::sin(position * frequencies[i]));
    }
  }
};

// One head at one position.
template <class T>
void turn_row(const T* x, std::int64_t step, const Turn<accumulate_t<T>>& turn, T* y) {
  using Value = accumulate_t<T>;
  const auto pairs = static_cast<std::int64_t>(turn.cosines.size());
  const Value *const cosines = turn.cosines.data(), *const sines = turn.sines.data();
  for (std::int64_t i = 0; i < pairs; ++i) {
    const RotaryPair<Value> pair{static_cast<Value>(x[i * step]), static_cast<Value>(x[(i + pairs) * step])};
    const auto [first, second] = pair.turned(cosines[i], sines[i]);
    y[i] = T(first);
    y[i + pairs] = T(second);
  }
}

// Angles are made once per position, for all batches and heads.
template <class T>
void turn_all(const Tensor& x, const Rotation& rotation, const Tensor& y) {
  using Value = accumulate_t<T>;
  const std::int64_t B = x.size(0), H = x.size(2), P = x.size(3);
  const Strides &from = x.strides(), &to = y.strides();
  std::vector<double> frequencies(static_cast<std::size_t>(P / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = (rotation.inverse ? -1 : 1) * rotary_frequency(rotation.base, static_cast<std::int64_t>(i), P);
  parallel_for(x.size(1), grain_for(P * (B * H + 20)), [&](std::int64_t begin, std::int64_t end) {
    Turn<Value> turn(frequencies.size());
    for (std::int64_t t = begin; t < end; ++t) {
      turn.move_to(static_cast<double>(rotation.first_position + t), frequencies);
      for (std::int64_t b = 0; b < B; ++b)
        for (std::int64_t h = 0; h < H; ++h)
          turn_row(x.data<T>() + b * from[0] + t * from[1] + h * from[2], from[3], turn,
                   y.data<T>() + b * to[0] + t * to[1] + h * to[2]);
    }
  });
}

void rotary_cpu(const Tensor& x, const Rotation& rotation, const Tensor& y) {
  if (x.numel() == 0) return;
  visit_floating("rotary", x.dtype(), [&]<class T>(Type<T>) { turn_all<T>(x, rotation, y); });
}

const bool on_cpu = rotary_kernel.add(DeviceKind::cpu, rotary_cpu);

// Pairs as complex numbers, times e^(i a); angles in long double.
Tensor reference(const Tensor& x, std::int64_t first_position, double base) {
  const auto positions = static_cast<std::size_t>(x.size(1)), heads = static_cast<std::size_t>(x.size(2)),
             width = static_cast<std::size_t>(x.size(3)), pairs = width / 2;
  std::vector<double> values = x.values();
  for (std::size_t row = 0; row * width < values.size(); ++row)
    for (std::size_t i = 0; i < pairs; ++i) {
      const auto position = static_cast<long double>(row / heads % positions) + first_position;
      const long double exponent = -2 * static_cast<long double>(i) / static_cast<long double>(width);
      double &first = values[row * width + i], &second = values[row * width + i + pairs];
      const std::complex<long double> turned =
          std::complex<long double>(first, second) *
          std::polar(1.0L, position * std::exp(exponent * std::log(static_cast<long double>(base))));
      first = static_cast<double>(turned.real());
      second = static_cast<double>(turned.imag());
    }
  return Tensor::from_values(x.shape(), values);
}

Sample sample(const std::string& name, const Shape& shape, std::int64_t first_position = 0, double base = 10000) {
  return {name,
          {random_tensor(shape, 51)},
          [=](std::span<const Tensor> in) { return std::vector{rotary(in[0], first_position, base)}; },
          [=](std::span<const Tensor> in) { return std::vector{reference(in[0], first_position, base)}; }};
}

// Both elements of a pair are the only element there is.
Sample size_one_sample() {
  const auto doubled = [](const Tensor& x) { return broadcast_to(x, {1, 1, 1, 2}); };
  return {"size one",
          {random_tensor({1, 1, 1, 1}, 52)},
          [doubled](std::span<const Tensor> in) { return std::vector{rotary(doubled(in[0]), 3)}; },
          [doubled](std::span<const Tensor> in) { return std::vector{reference(doubled(in[0]), 3, 10000)}; }};
}

std::vector<BadSample> bad_samples() {
  const auto call = [](const Shape& shape, std::int64_t first_position, double base, DType dtype = DType::float32) {
    return [=] { rotary(Tensor::zeros(shape, dtype), first_position, base); };
  };
  return {
      {"odd head", call({1, 2, 3, 5}, 0, 10000), "rotary: heads of 5 elements; elements turn in pairs"},
      {"three axes", call({2, 3, 4}, 0, 10000), "rotary: expected x"},
      {"negative position", call({1, 2, 3, 4}, -1, 10000), "rotary: expected a first position of 0 or more, got -1"},
      {"base", call({1, 2, 3, 4}, 0, 0), "rotary: expected a finite base above 0"},
      {"base that is not finite", call({1, 2, 3, 4}, 0, INFINITY), "rotary: expected a finite base above 0"},
      {"integers", call({1, 2, 3, 4}, 0, 10000, DType::int32), "rotary: expected x of a floating dtype, got int32"}};
}

const OpRegistration registration{{
    .name = "rotary",
    .source = __FILE__,
    .signature = "rotary(x, first_position, base = 10000)",
    .summary = "rotary position embedding: elements i and i + P/2 of each head in x [B, T, H, P] turn by "
               "(first_position + t) * base^(-2i / P)",
    .samples =
        [] {
          return std::vector<Sample>{sample("usual", {2, 8, 4, 16}),
                                     sample("odd", {3, 5, 3, 10}),
                                     sample("later positions", {2, 7, 2, 8}, 300),
                                     sample("one query", {3, 1, 2, 64}, 77),
                                     sample("another base", {1, 9, 2, 6}, 4, 500000),
                                     sample("wide heads", {1, 3, 2, 700}, 5),
                                     sample("many rows", {5, 3, 129, 4}, 1),
                                     sample("zero batch", {0, 3, 2, 4}),
                                     sample("no positions", {2, 0, 2, 4}),
                                     sample("no elements", {2, 3, 2, 0}),
                                     size_one_sample()};
        },
    .large =
        [] {
          return sample("large", {16, 512, 8, 64});
        },
    .bad_samples = bad_samples,
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
