// Muon against plain loops of the published definition, in doubles.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/autograd.h"
#include "models/initialise.h"
#include "ops/support/samples.h"
#include "tensor_checks.h"
#include "train/optimizer/adamw.h"
#include "train/optimizer/muon.h"

using namespace weir;

namespace {

struct Matrix {
  std::int64_t rows, cols;
  std::vector<double> v;

  double& at(std::int64_t r, std::int64_t c) { return v[static_cast<std::size_t>(r * cols + c)]; }
  double at(std::int64_t r, std::int64_t c) const { return v[static_cast<std::size_t>(r * cols + c)]; }
};

Matrix transposed(const Matrix& m) {
  Matrix t{m.cols, m.rows, std::vector<double>(m.v.size())};
  for (std::int64_t r = 0; r < m.rows; ++r)
    for (std::int64_t c = 0; c < m.cols; ++c) t.at(c, r) = m.at(r, c);
  return t;
}

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix y{a.rows, b.cols, std::vector<double>(static_cast<std::size_t>(a.rows * b.cols))};
  for (std::int64_t r = 0; r < a.rows; ++r)
    for (std::int64_t c = 0; c < b.cols; ++c)
      for (std::int64_t k = 0; k < a.cols; ++k) y.at(r, c) += a.at(r, k) * b.at(k, c);
  return y;
}

Matrix sum_of(double p, const Matrix& a, double q, const Matrix& b) {
  Matrix y = a;
  for (std::size_t i = 0; i < y.v.size(); ++i) y.v[i] = p * a.v[i] + q * b.v[i];
  return y;
}

// As the published code has it: wide matrices alone, others are turned.
Matrix published_orthogonal(Matrix x, int steps = 5) {
  if (x.rows > x.cols) return transposed(published_orthogonal(transposed(x), steps));
  const double norm = std::sqrt(std::inner_product(x.v.begin(), x.v.end(), x.v.begin(), 0.0));
  for (double& v : x.v) v /= norm + 1e-7;
  for (int i = 0; i < steps; ++i) {
    const Matrix a = product(x, transposed(x));
    const Matrix b = sum_of(-4.7750, a, 2.0315, product(a, a));
    x = sum_of(3.4445, x, 1, product(b, x));
  }
  return x;
}

// The matrices of a parameter, row-major values.
std::vector<Matrix> matrices_of(const Shape& shape, const std::vector<double>& values) {
  const auto size = static_cast<std::ptrdiff_t>(shape[-2] * shape[-1]);
  std::vector<Matrix> list;
  for (auto first = values.begin(); first != values.end(); first += size)
    list.push_back({shape[-2], shape[-1], {first, first + size}});
  return list;
}

constexpr double kMomentum = 0.9, kDecay = 0.1, kRate = 5;

// One parameter under the published update.
class PublishedMuon {
 public:
  // `share` of a gradient that is kept: 1 as published first, 1 - momentum in the code of today.
  PublishedMuon(const Parameter& p, bool nesterov, double share, double decay = kDecay, double rate = kRate)
      : parameter_(p), nesterov_(nesterov), share_(share), decay_(decay), rate_(rate) {
    values_ = matrices_of(p.shape, p.value.values());
    for (const Matrix& m : values_) kept_.push_back({m.rows, m.cols, std::vector<double>(m.v.size())});
  }

  void step(double learning_rate, double factor) {
    const std::vector<Matrix> gradients = matrices_of(parameter_.shape, gradient(parameter_.value).values());
    for (std::size_t e = 0; e < values_.size(); ++e)
      move(values_[e], kept_[e], gradients[e], rate_ * learning_rate, factor);
  }

  double difference() const {
    std::vector<double> all;
    for (const Matrix& m : values_) all.insert(all.end(), m.v.begin(), m.v.end());
    return max_difference(parameter_.value, Tensor::from_values(parameter_.shape, all));
  }

 private:
  void move(Matrix& value, Matrix& kept, const Matrix& gradient, double rate, double factor) const {
    Matrix direction = kept;
    for (std::size_t i = 0; i < gradient.v.size(); ++i) {
      const double g = share_ * factor * gradient.v[i];
      kept.v[i] = kMomentum * kept.v[i] + g;
      direction.v[i] = nesterov_ ? g + kMomentum * kept.v[i] : kept.v[i];
    }
    const double tall = std::max(1.0, static_cast<double>(value.rows) / static_cast<double>(value.cols));
    value = sum_of(1 - rate * decay_, value, -rate * std::sqrt(tall), published_orthogonal(direction));
  }

  const Parameter& parameter_;
  bool nesterov_;
  double share_, decay_, rate_;
  std::vector<Matrix> values_, kept_;
};

void check_published(Device device, bool nesterov, double share, double tolerance) {
  ParameterSet set, rest;  // what is AdamW's is also in a set of its own
  for (ParameterSet* const of_adamw : {&set, &rest}) {
    of_adamw->add("embedding", {9, 4}, initialise::normal(1));
    of_adamw->add("layer0.bias", {6}, initialise::normal(1));
  }
  const Parameter& wide = set.add("layer0.wide", {3, 7}, initialise::normal(1));
  const Parameter& tall = set.add("layer0.tall", {8, 3}, initialise::normal(1));
  const Parameter& experts = set.add("layer0.experts", {3, 5, 4}, initialise::normal(1));
  set.allocate(DType::float64, 3, device);
  rest.allocate(DType::float64, 3, device);
  const AdamWSettings adamw{.beta1 = 0.8, .beta2 = 0.9, .weight_decay = kDecay};
  Muon muon(set, {.momentum = kMomentum, .nesterov = nesterov, .rate = kRate}, adamw, {"*.tall", "*.experts=0.5"});
  AdamW other(rest, adamw);
  PublishedMuon expected[] = {
      {wide, nesterov, share}, {tall, nesterov, share, 0}, {experts, nesterov, share, kDecay, kRate / 2}};
  for (int t = 0; t < 12; ++t) {
    const double rate = 0.02 / (1 + t), factor = t % 2 == 0 ? 1 : 0.25;
    for (const ParameterSet* parameters : {&set, &rest})
      for (const Parameter& p : parameters->parameters())
        copy_into(random_tensor(p.shape, static_cast<std::uint64_t>(t + 10)), gradient(p.value));
    muon.step(rate, factor);
    other.step(rate, factor);
    for (PublishedMuon& each : expected) {
      each.step(rate, factor);
      CHECK(each.difference() < tolerance);
    }
  }
  for (const Parameter& p : rest.parameters()) CHECK(max_difference(p.value, set.at(p.name).value) < 1e-14);
  CHECK(muon.updates() == 12);
}

}  // namespace

TEST_CASE("devices: Muon against plain loops of the published definition") {
  for (const Device device : available_devices())
    for (const bool nesterov : {true, false}) {
      INFO(device_name(device), ", nesterov ", nesterov);
      check_published(device, nesterov, 1, 1e-12);
      // The 1e-7 beside the norm weighs ten times as much on a mean as on the sum.
      check_published(device, nesterov, 1 - kMomentum, 1e-6);
    }
}

TEST_CASE("devices: Newton and Schulz's iteration, of one matrix and of several") {
  for (const Device device : available_devices())
    for (const Shape& shape : {Shape{6, 40}, Shape{40, 6}, Shape{2, 9, 9}, Shape{1, 5}}) {
      INFO(shape.str(), " / ", device_name(device));
      const Tensor g = to_device(random_tensor(shape, 4), device);
      const std::vector<Matrix> in = matrices_of(shape, g.values()),
                                out = matrices_of(shape, newton_schulz(g, 5).values());
      for (std::size_t e = 0; e < in.size(); ++e) {
        const Matrix expected = published_orthogonal(in[e]);
        for (std::size_t i = 0; i < expected.v.size(); ++i) CHECK(std::abs(out[e].v[i] - expected.v[i]) < 1e-12);
      }
    }
}

TEST_CASE("devices: Newton and Schulz's iteration in float32 and bf16, and of nothing") {
  for (const Device device : available_devices()) {
    const Tensor g = converted(to_device(random_tensor({12, 20}, 4), device), DType::float32);
    const Tensor exact = converted(newton_schulz(converted(g, DType::float64), 5), DType::float32);
    CHECK(max_difference(newton_schulz(g, 5), exact) < 1e-4);
    const Tensor rough = newton_schulz(g, 5, true);
    CHECK(rough.dtype() == DType::float32);
    CHECK(max_difference(rough, exact) < 0.1);
    CHECK(max_difference(rough, exact) > 1e-4);
    CHECK(max_difference(newton_schulz(Tensor::zeros_like(g), 5), Tensor::zeros_like(g)) == 0);
  }
}
