#include "models/initialise.h"

#include <cmath>
#include <vector>

#include "core/parallel.h"

namespace weir::initialise {
namespace {

// Row-major values -> parameter, whatever its dtype and padding.
void store(const std::vector<double>& values, const Tensor& to) {
  copy_into(Tensor::from_values(to.shape(), values), to);
}

template <class Draw>
std::vector<double> drawn(const Tensor& shape_of, Draw&& draw) {
  std::vector<double> values(static_cast<std::size_t>(shape_of.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = draw(i);
  return values;
}

// Each element in its place, without a copy: a table of values may be much larger than what else there is.
template <class Draw>
void draw_into(const Tensor& to, Draw&& draw) {
  visit_floating("initialise", to.dtype(), [&]<class T>(Type<T>) {
    const auto rows = rows_of<T>(to);
    parallel_for(rows.rows, grain_for(64 * rows.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        for (std::int64_t c = 0; c < rows.cols; ++c)
          rows.row(r)[c] = T(static_cast<accumulate_t<T>>(draw(static_cast<std::uint64_t>(r * rows.cols + c))));
    });
  });
}

// As torch.std: unbiased, around the mean.
double standard_deviation(const std::vector<double>& values) {
  double mean = 0, sum = 0;
  for (double v : values) mean += v;
  mean /= static_cast<double>(values.size());
  for (double v : values) sum += (v - mean) * (v - mean);
  return std::sqrt(sum / static_cast<double>(values.size() > 1 ? values.size() - 1 : 1));
}

void scale_by(std::vector<double>& values, double factor) {
  for (double& v : values) v *= factor;
}

}  // namespace

Initialiser constant(double value) {
  return [value](const Tensor& to, const RandomStream&) { fill(to, value); };
}

Initialiser uniform(double bound) {
  return [bound](const Tensor& to, const RandomStream& random) {
    draw_into(to, [&](std::uint64_t i) { return bound * (2 * static_cast<double>(random.uniform(i)) - 1); });
  };
}

Initialiser normal(double std) {
  return [std](const Tensor& to, const RandomStream& random) {
    draw_into(to, [&](std::uint64_t i) { return std * random.normal(i); });
  };
}

Initialiser truncated_normal(double std) {
  return [std](const Tensor& to, const RandomStream& random) {
    // Draws outside are repeated; every attempt of every element has a place of its own in the stream.
    std::vector<double> values = drawn(to, [&](std::size_t i) {
      for (std::uint64_t attempt = 0;; ++attempt)
        if (const double v = random.normal(i + (attempt << 40)); std::abs(v) <= 2) return v;
    });
    const double empirical = standard_deviation(values);
    if (empirical > 0) scale_by(values, std / empirical);
    store(values, to);
  };
}

Initialiser normalised_rows(double std) {
  return [std](const Tensor& to, const RandomStream& random) {
    std::vector<double> values = drawn(to, [&](std::size_t i) { return std * random.normal(i); });
    const double before = standard_deviation(values);
    const auto cols = static_cast<std::size_t>(to.size(-1));
    for (std::size_t row = 0; row < values.size(); row += cols) {
      double squares = 0;
      for (std::size_t c = 0; c < cols; ++c) squares += values[row + c] * values[row + c];
      for (std::size_t c = 0; c < cols; ++c) values[row + c] /= std::sqrt(squares);
    }
    if (const double after = standard_deviation(values); after > 0) scale_by(values, before / after);
    store(values, to);
  };
}

}  // namespace weir::initialise
